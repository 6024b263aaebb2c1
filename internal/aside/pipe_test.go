//go:build unix

package aside

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestAPipeIsRefused(t *testing.T) {
	name := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(name, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadFile(t.Context(), name); err == nil || !strings.HasSuffix(err.Error(), name+" is a pipe: want a regular file") {
		t.Error(err)
	}
}
