package daemon

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"
)

func TestAKeyIsItsOwnersAlone(t *testing.T) {
	file := filepath.Join(t.TempDir(), "key")
	keygen := func() error {
		cmd := newKeygen()
		cmd.SetArgs([]string{file})
		cmd.SetOut(io.Discard)
		cmd.SetErr(io.Discard)
		return cmd.ExecuteContext(t.Context())
	}
	if err := keygen(); err != nil {
		t.Fatal(err)
	}
	if keys, err := ReadKeys(t.Context(), file); err != nil || len(keys) != 1 || readByOthers(t.Context(), file) {
		t.Errorf("%d keys, %v, read by others %t", len(keys), err, readByOthers(t.Context(), file))
	}
	before, _ := os.ReadFile(file)
	if keygen() == nil {
		t.Error("a key that was there is gone")
	}
	if after, _ := os.ReadFile(file); !bytes.Equal(before, after) {
		t.Error("it is another now")
	}
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	if !readByOthers(t.Context(), file) {
		t.Error("others may read it, and nobody says so")
	}
}
