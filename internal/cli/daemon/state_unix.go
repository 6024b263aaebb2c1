//go:build unix && !solaris && !aix

package daemon

import (
	"errors"
	"os"
	"syscall"
)

// lockFile creates a file and locks it against other processes. No library is used, since the
// lock is one system call.
func lockFile(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = errInUse
		}
		return nil, err
	}
	return func() { f.Close() }, nil
}
