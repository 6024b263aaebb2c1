package fence_test

import (
	"database/sql"
	"errors"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	_ "modernc.org/sqlite"

	"github.com/sentinel-peer/sentinel-peer/lockservice/fence"
)

func database(t testing.TB) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(t.TempDir(), "fence.db")+"?_pragma=busy_timeout(10000)&_txlock=immediate")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	if err := (fence.SQL{DB: db}).Create(t.Context()); err != nil {
		t.Fatal(err)
	}
	return db
}

// each runs f once for every kind of guard.
func each(t *testing.T, f func(t *testing.T, g fence.Guard)) {
	t.Run("memory", func(t *testing.T) { f(t, &fence.Memory{}) })
	t.Run("sql", func(t *testing.T) { f(t, fence.SQL{DB: database(t)}) })
	t.Run("sql-dollar", func(t *testing.T) { f(t, fence.SQL{DB: database(t), Dollar: true}) })
	t.Run("file", func(t *testing.T) { f(t, fence.NewFile(filepath.Join(t.TempDir(), "fence"))) })
}

func TestALowerTokenIsRefused(t *testing.T) {
	each(t, func(t *testing.T, g fence.Guard) {
		f := func(resource string, token uint64, highest uint64) {
			t.Helper()
			err := g.Check(t.Context(), resource, token)
			stale, ok := errors.AsType[*fence.StaleError](err)
			switch {
			case highest == 0 && err != nil:
				t.Errorf("%s %d: %v", resource, token, err)
			case highest > 0 && (!ok || !errors.Is(err, fence.ErrStale) || stale.Highest != highest || stale.Token != token):
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
			if err := g.Check(t.Context(), "a", token); !errors.Is(err, fence.ErrToken) {
				t.Errorf("token %d: %v", token, err)
			}
		}
		if g.Check(t.Context(), "", 1) == nil || g.Check(t.Context(), strings.Repeat("x", 301), 1) == nil {
			t.Error("a resource without a name, or with a long one")
		}
	})
}

// Many callers check tokens at once. A guard never admits a token lower than one that it
// admitted before.
func TestConcurrentChecksLeaveTheHighest(t *testing.T) {
	each(t, func(t *testing.T, g fence.Guard) {
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				for j := range uint64(10) {
					if err := g.Check(t.Context(), "r", 1+j*8+uint64(i)); err != nil && !errors.Is(err, fence.ErrStale) {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		if err := g.Check(t.Context(), "r", 79); !errors.Is(err, fence.ErrStale) {
			t.Errorf("79 after 80: %v", err)
		}
		if err := g.Check(t.Context(), "r", 80); err != nil {
			t.Errorf("80 after 80: %v", err)
		}
	})
}

func TestCheckAndWriteAreOneTransaction(t *testing.T) {
	db := database(t)
	g := fence.SQL{DB: db}
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
	if err := write(6, 3); !errors.Is(err, fence.ErrStale) {
		t.Errorf("6 after 7: %v", err)
	}
	var sum int
	if err := db.QueryRowContext(t.Context(), "SELECT SUM(balance) FROM account").Scan(&sum); err != nil || sum != 3 {
		t.Errorf("balance %d, %v", sum, err)
	}
}

func BenchmarkCheck(b *testing.B) {
	for name, g := range map[string]fence.Guard{"memory": &fence.Memory{}, "sqlite": fence.SQL{DB: database(b)}, "file": fence.NewFile(filepath.Join(b.TempDir(), "f"))} {
		b.Run(name, func(b *testing.B) {
			for i := uint64(1); b.Loop(); i++ {
				if err := g.Check(b.Context(), "r"+strconv.Itoa(int(i%4)), 7); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
