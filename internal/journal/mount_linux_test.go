package journal_test

import (
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
)

func mountSmall(dir string, bytes int) error {
	return unix.Mount("none", dir, "tmpfs", 0, fmt.Sprintf("size=%d", bytes))
}

func unmount(t *testing.T, dir string) {
	if err := unix.Unmount(dir, 0); err != nil {
		t.Error(err)
	}
}
