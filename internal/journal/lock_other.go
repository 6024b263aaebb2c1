//go:build !windows && (!unix || solaris || aix)

package journal

import (
	"errors"
	"os"
)

// lock fails, because this system has no flock, and two processes on one folder would lose writes.
func lock(*os.File) error { return errors.ErrUnsupported }

func syncFolder(string) error { return nil }
