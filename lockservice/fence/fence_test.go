package fence

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

func TestDoWritesOnlyWhenAdmitted(t *testing.T) {
	ctx := t.Context()
	m, f := &Memory{}, NewFile(filepath.Join(t.TempDir(), "fence"))
	for name, do := range map[string]func(context.Context, string, uint64, func() error) error{"memory": m.Do, "file": f.Do} {
		wrote := 0
		write := func() error { wrote++; return errors.New("mine") }
		if err := do(ctx, "r", 2, write); err == nil || err.Error() != "mine" {
			t.Errorf("%s: %v", name, err)
		}
		if err := do(ctx, "r", 1, write); !errors.Is(err, ErrStale) || wrote != 1 {
			t.Errorf("%s: %v, %d writes", name, err, wrote)
		}
	}
}

func TestAFileOutlivesItsGuardAndADamagedOneIsNoFreshStart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fence")
	if err := NewFile(path).Check(t.Context(), "r", 7); err != nil {
		t.Fatal(err)
	}
	if err := NewFile(path).Check(t.Context(), "r", 6); !errors.Is(err, ErrStale) {
		t.Errorf("%v", err)
	}
	for _, damage := range []string{"", "other\n", fileHeader + "\nseven \"r\"\n", fileHeader + "\n7 r\n"} {
		if err := os.WriteFile(path, []byte(damage), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := NewFile(path).Check(t.Context(), "r", 8); err == nil || errors.Is(err, ErrStale) {
			t.Errorf("%q: %v", damage, err)
		}
	}
	if err := NewFile(filepath.Join(path, "no", "folder")).Check(t.Context(), "r", 8); err == nil {
		t.Error("no folder")
	}
}

// Processes wait for each other, and give up with their context.
func TestAFileIsLockedAgainstOtherProcesses(t *testing.T) {
	if path := os.Getenv("FENCE_HOLD"); path != "" {
		_ = NewFile(path).Do(t.Context(), "r", 5, func() error {
			fmt.Println("holding")
			_, err := os.Stdin.Read(make([]byte, 1))
			return err
		})
		return
	}
	path := filepath.Join(t.TempDir(), "fence")
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestAFileIsLockedAgainstOtherProcesses$")
	cmd.Env = append(os.Environ(), "FENCE_HOLD="+path)
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2, cmd.Start()); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 64)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := NewFile(path).Check(ctx, "r", 9); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("while another holds it: %v", err)
	}
	in.Close()
	if err := NewFile(path).Check(t.Context(), "r", 4); !errors.Is(err, ErrStale) {
		t.Errorf("after it: %v", err)
	}
	_ = cmd.Wait()
}

func ExampleMemory() {
	var guard Memory
	ctx := context.Background()
	fmt.Println(guard.Check(ctx, "printer", 17)) // the holder of token 17 writes, and is paused
	fmt.Println(guard.Check(ctx, "printer", 23)) // the lock moved on
	fmt.Println(guard.Check(ctx, "printer", 17)) // the paused holder wakes up
	// Output:
	// <nil>
	// <nil>
	// "printer": fencing token 17 is stale: a holder with 23 has been here
}
