package aside

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestAFileIsReadWithItsMode(t *testing.T) {
	name := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(name, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := ReadFile(t.Context(), name)
	if err != nil || string(f.Text) != "secret" || !f.Mode.IsRegular() {
		t.Errorf("%q, %v, %v", f.Text, f.Mode, err)
	}
	if err := os.Truncate(name, maxFile+1); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadFile(t.Context(), name); err == nil || !strings.Contains(err.Error(), "more than 16 MiB") {
		t.Errorf("beyond the limit: %v", err)
	}
}

func TestWhatIsNoRegularFileIsRefused(t *testing.T) {
	for name, want := range map[string]string{t.TempDir(): "is a folder: want a regular file", os.DevNull: "is a device: want a regular file"} {
		if _, err := ReadFile(t.Context(), name); err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
}

func TestAReadThatDoesNotEndIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hold := make(chan struct{})
		stuck := newReader(func(string) (File, error) { <-hold; return File{}, nil })
		began := time.Now()
		if _, err := stuck.read(t.Context(), "key"); err == nil || err.Error() != "read key: given up: no answer within 5s" || time.Since(began) != FilePatience {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := stuck.read(ctx, "key"); !errors.Is(err, context.Canceled) {
			t.Errorf("whoever stops waits: %v", err)
		}
		close(hold)
	})
}

// However often a disk that hangs is asked, few goroutines wait for it.
func TestReadsThatHangAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hold := make(chan struct{})
		begun := make(chan struct{}, 2*maxReads+1)
		disk := newReader(func(string) (File, error) { begun <- struct{}{}; <-hold; return File{}, nil })
		for range 2 * maxReads {
			_, _ = disk.read(t.Context(), "key")
		}
		if len(begun) != maxReads {
			t.Errorf("%d reads at once, want %d", len(begun), maxReads)
		}
		close(hold)
		synctest.Wait()
		if _, err := disk.read(t.Context(), "key"); err != nil {
			t.Errorf("once the disk answers: %v", err)
		}
	})
}
