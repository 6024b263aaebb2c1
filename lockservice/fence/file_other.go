//go:build !unix || solaris || aix

package fence

import (
	"errors"
	"os"
)

// tryLock fails, because this system has no flock, and without a lock two processes could both
// be admitted.
func tryLock(*os.File) (bool, error) { return false, errors.ErrUnsupported }

func syncDir(string) error { return nil }
