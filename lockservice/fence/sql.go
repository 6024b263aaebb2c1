package fence

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
)

// Schema creates the table of [SQL]. It is plain SQL-92 and may go into a migration.
const Schema = `CREATE TABLE IF NOT EXISTS sentinel_fence (resource VARCHAR(300) NOT NULL PRIMARY KEY, token BIGINT NOT NULL)`

// Queryer is the part of *sql.DB, *sql.Tx and *sql.Conn that SQL needs.
type Queryer interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// SQL guards with a row for each resource in the table of [Schema]. If DB is a *sql.Tx and the
// guarded writes are in the same transaction, check and write are atomic: the row stays locked
// until the commit. With a *sql.DB the check commits before the write, which may then come late.
type SQL struct {
	DB     Queryer
	Dollar bool // write parameters as $1, $2 (PostgreSQL) instead of ?
}

// In returns a guard that works inside tx.
func (g SQL) In(tx *sql.Tx) SQL { return SQL{DB: tx, Dollar: g.Dollar} }

// Create makes the table if there is none.
func (g SQL) Create(ctx context.Context) error {
	_, err := g.DB.ExecContext(ctx, Schema)
	return err
}

// Check admits token if the row of resource holds no higher one, and else returns a *StaleError. It
// is one conditional update; only the first token of a resource takes an insert.
func (g SQL) Check(ctx context.Context, resource string, token uint64) error {
	if err := validate(resource, token); err != nil {
		return err
	}
	for range 10 { // a try is repeated if another writer won the race to insert the row
		n, err := g.exec(ctx, "UPDATE sentinel_fence SET token = ? WHERE resource = ? AND token <= ?", int64(token), resource, int64(token))
		if err != nil || n > 0 {
			return err
		}
		var high int64
		err = g.DB.QueryRowContext(ctx, g.query("SELECT token FROM sentinel_fence WHERE resource = ?"), resource).Scan(&high)
		switch {
		case err == nil && uint64(high) > token:
			return &StaleError{resource, token, uint64(high)}
		case err == nil && uint64(high) == token:
			return nil // the driver counts only rows whose value changed
		case err == nil:
			continue
		case !errors.Is(err, sql.ErrNoRows):
			return fmt.Errorf("fence %q: %w", resource, err)
		}
		n, err = g.exec(ctx, "INSERT INTO sentinel_fence (resource, token) VALUES (?, ?)", resource, int64(token))
		if n > 0 {
			return nil
		}
		if _, inTx := g.DB.(*sql.Tx); inTx || ctx.Err() != nil {
			return err // a failed statement may have spoiled the transaction
		}
	}
	return fmt.Errorf("fence %q: the first token could not be inserted", resource)
}

func (g SQL) exec(ctx context.Context, query string, args ...any) (int64, error) {
	r, err := g.DB.ExecContext(ctx, g.query(query), args...)
	if err != nil {
		return 0, fmt.Errorf("fence: %w", err)
	}
	return r.RowsAffected()
}

// query replaces each ? by $1, $2 and so on if Dollar is set.
func (g SQL) query(q string) string {
	if !g.Dollar {
		return q
	}
	var b []byte
	n := 0
	for i := range len(q) {
		if q[i] != '?' {
			b = append(b, q[i])
			continue
		}
		n++
		b = strconv.AppendInt(append(b, '$'), int64(n), 10)
	}
	return string(b)
}
