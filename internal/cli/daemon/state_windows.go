package daemon

import (
	"errors"
	"syscall"
)

// lockFile creates a file and keeps it open for this process alone.
func lockFile(path string) (unlock func(), err error) {
	const sharingViolation syscall.Errno = 32
	p, err := syscall.UTF16PtrFromString(path)
	if err != nil {
		return nil, err
	}
	h, err := syscall.CreateFile(p, syscall.GENERIC_WRITE, 0, nil, syscall.OPEN_ALWAYS, syscall.FILE_ATTRIBUTE_NORMAL, 0)
	if errors.Is(err, sharingViolation) {
		err = errInUse
	}
	if err != nil {
		return nil, err
	}
	return func() { syscall.CloseHandle(h) }, nil
}
