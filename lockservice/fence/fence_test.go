package fence

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	_ "modernc.org/sqlite"
)

func database(t testing.TB) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(t.TempDir(), "fence.db")+"?_pragma=busy_timeout(10000)&_txlock=immediate")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	if err := (SQL{DB: db}).Create(t.Context()); err != nil {
		t.Fatal(err)
	}
	return db
}

// each runs f with every kind of guard.
func each(t *testing.T, f func(t *testing.T, g Guard)) {
	t.Run("memory", func(t *testing.T) { f(t, &Memory{}) })
	t.Run("sql", func(t *testing.T) { f(t, SQL{DB: database(t)}) })
	t.Run("sql-dollar", func(t *testing.T) { f(t, SQL{DB: database(t), Dollar: true}) })
	t.Run("file", func(t *testing.T) { f(t, NewFile(filepath.Join(t.TempDir(), "fence"))) })
}

func TestALowerTokenIsRefused(t *testing.T) {
	each(t, func(t *testing.T, g Guard) {
		f := func(resource string, token uint64, highest uint64) {
			t.Helper()
			err := g.Check(t.Context(), resource, token)
			stale, ok := errors.AsType[*StaleError](err)
			switch {
			case highest == 0 && err != nil:
				t.Errorf("%s %d: %v", resource, token, err)
			case highest > 0 && (!ok || !errors.Is(err, ErrStale) || stale.Highest != highest || stale.Token != token):
				t.Errorf("%s %d: %v, want stale by %d", resource, token, err, highest)
			}
		}
		f("a", 10, 0)
		f("a", 10, 0)
		f("a", 9, 10)
		f("a", 12, 0)
		f("a", 10, 12)
		f("b\n\"x", 3, 0)
		f("b\n\"x", 2, 3)
		f("a", 1<<53-1, 0)
		f("a", 12, 1<<53-1)
		for _, token := range []uint64{0, 1 << 53} {
			if err := g.Check(t.Context(), "a", token); !errors.Is(err, ErrToken) {
				t.Errorf("token %d: %v", token, err)
			}
		}
		if g.Check(t.Context(), "", 1) == nil || g.Check(t.Context(), strings.Repeat("x", 301), 1) == nil {
			t.Error("a resource without a name, or with a long one")
		}
	})
}

// Many check at once; what was admitted last is never lower than what came before.
func TestConcurrentChecksLeaveTheHighest(t *testing.T) {
	each(t, func(t *testing.T, g Guard) {
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				for j := range uint64(10) {
					if err := g.Check(t.Context(), "r", 1+j*8+uint64(i)); err != nil && !errors.Is(err, ErrStale) {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		if err := g.Check(t.Context(), "r", 79); !errors.Is(err, ErrStale) {
			t.Errorf("79 after 80: %v", err)
		}
		if err := g.Check(t.Context(), "r", 80); err != nil {
			t.Errorf("80 after 80: %v", err)
		}
	})
}

func TestCheckAndWriteAreOneTransaction(t *testing.T) {
	db := database(t)
	g := SQL{DB: db}
	if _, err := db.ExecContext(t.Context(), "CREATE TABLE account (balance INT)"); err != nil {
		t.Fatal(err)
	}
	write := func(token uint64, balance int) error {
		tx, err := db.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer tx.Rollback()
		if err := g.In(tx).Check(t.Context(), "account", token); err != nil {
			return err
		}
		if _, err := tx.ExecContext(t.Context(), "INSERT INTO account VALUES (?)", balance); err != nil {
			t.Fatal(err)
		}
		if balance < 0 {
			return errors.New("rolled back")
		}
		return tx.Commit()
	}
	if err := write(5, 1); err != nil {
		t.Fatal(err)
	}
	if write(9, -1) == nil {
		t.Fatal("committed")
	}
	if err := write(7, 2); err != nil {
		t.Errorf("a token rolled back counts: %v", err)
	}
	if err := write(6, 3); !errors.Is(err, ErrStale) {
		t.Errorf("6 after 7: %v", err)
	}
	var sum int
	if err := db.QueryRowContext(t.Context(), "SELECT SUM(balance) FROM account").Scan(&sum); err != nil || sum != 3 {
		t.Errorf("balance %d, %v", sum, err)
	}
}

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

func BenchmarkCheck(b *testing.B) {
	for name, g := range map[string]Guard{"memory": &Memory{}, "sqlite": SQL{DB: database(b)}, "file": NewFile(filepath.Join(b.TempDir(), "f"))} {
		b.Run(name, func(b *testing.B) {
			for i := uint64(1); b.Loop(); i++ {
				if err := g.Check(b.Context(), "r"+strconv.Itoa(int(i%4)), 7); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
