package journal

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// lock locks a byte beyond the content, so that others can read the process id.
func lock(f *os.File) error {
	at := windows.Overlapped{Offset: 1 << 30}
	err := windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, &at)
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
		return ErrInUse
	}
	return err
}

// syncFolder has nothing to do, since this system syncs names with the files.
func syncFolder(string) error { return nil }
