package main

import (
	"database/sql"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"

	"github.com/cockroachdb/pebble/v2"
	"github.com/sentinel-peer/sentinel-peer/internal/journal"
	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"
	_ "modernc.org/sqlite"
)

// record is a key and its value.
type record struct{ key, value []byte }

const (
	keyBytes    = 37
	valueBytes  = 200
	recordBytes = keyBytes + valueBytes
)

// newRecord returns a record of the i-th key with a new value.
func newRecord(i int) record {
	value := make([]byte, 0, valueBytes)
	for len(value) < valueBytes {
		value = binary.LittleEndian.AppendUint64(value, rand.Uint64())
	}
	return record{fmt.Appendf(nil, "tasks/%0*d", keyBytes-len("tasks/"), i), value}
}

// store makes records durable. One goroutine at a time calls it.
type store interface {
	put([]record) error // returns once the records are on the disk
	io.Closer
}

// kind is a way to open a store in a folder, which may have one already.
type kind struct {
	name string
	open func(dir string) (store, error)
}

// stores has raw first. The others have the settings that they come with, apart from those that
// make a commit durable.
var stores = []kind{{"raw", openRaw}, {"journal", openJournal}, {"bbolt", openBolt}, {"pebble", openPebble}, {"SQLite", openSQLite}}

// raw appends to a file.
type raw struct {
	dir string
	f   *os.File
	at  int64
	buf []byte
}

const segmentBytes = 64 << 20

func openRaw(dir string) (store, error) { return &raw{dir: dir, at: segmentBytes}, nil }

func (r *raw) put(records []record) error {
	r.buf = r.buf[:0]
	for _, x := range records {
		r.buf = append(append(r.buf, x.key...), x.value...)
	}
	if r.at+int64(len(r.buf)) > segmentBytes {
		if err := r.begin(); err != nil {
			return err
		}
	}
	if _, err := r.f.WriteAt(r.buf, r.at); err != nil {
		return err
	}
	r.at += int64(len(r.buf))
	return unix.Fdatasync(int(r.f.Fd()))
}

// begin replaces the file by a new one.
func (r *raw) begin() error {
	if err := r.Close(); err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(r.dir, "log"))
	if err != nil {
		return err
	}
	r.f, r.at = f, 0
	return unix.Fallocate(int(f.Fd()), 0, 0, segmentBytes)
}

func (r *raw) Close() error {
	if r.f == nil {
		return nil
	}
	return r.f.Close()
}

// log is the journal of this project. A commit is a frame, with a section for each record.
type log struct {
	*journal.Log
	sections [][]byte
}

func openJournal(dir string) (store, error) {
	l, _, err := journal.Open(journal.Dir(dir), journal.Options{}, func(journal.Record) error { return nil })
	return &log{Log: l}, err
}

func (l *log) put(records []record) error {
	l.sections = l.sections[:0]
	for _, r := range records {
		l.sections = append(l.sections, slices.Concat(r.key, r.value))
	}
	n, err := l.Append(l.sections...)
	if err != nil {
		return err
	}
	return l.Flush(n, journal.Synced)
}

type bolt struct{ *bbolt.DB }

var bucket = []byte("records")

func openBolt(dir string) (store, error) {
	db, err := bbolt.Open(filepath.Join(dir, "bolt"), 0o600, nil)
	if err != nil {
		return nil, err
	}
	return bolt{db}, db.Update(func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucketIfNotExists(bucket)
		return err
	})
}

func (b bolt) put(records []record) error {
	return b.Update(func(tx *bbolt.Tx) error {
		to := tx.Bucket(bucket)
		for _, r := range records {
			if err := to.Put(r.key, r.value); err != nil {
				return err
			}
		}
		return nil
	})
}

type lsm struct{ *pebble.DB }

// quiet drops the messages of a store.
type quiet struct{}

func (quiet) Infof(string, ...any)           {}
func (quiet) Errorf(string, ...any)          {}
func (quiet) Fatalf(format string, a ...any) { panic(fmt.Sprintf(format, a...)) }

func openPebble(dir string) (store, error) {
	db, err := pebble.Open(dir, &pebble.Options{Logger: quiet{}})
	return lsm{db}, err
}

func (l lsm) put(records []record) error {
	batch := l.NewBatch()
	defer batch.Close()
	for _, r := range records {
		if err := batch.Set(r.key, r.value, nil); err != nil {
			return err
		}
	}
	return batch.Commit(pebble.Sync)
}

type sqlite struct {
	*sql.DB
	upsert *sql.Stmt
}

func openSQLite(dir string) (store, error) {
	db, err := sql.Open("sqlite", filepath.Join(dir, "sqlite")+"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	if _, err := db.Exec("create table if not exists records (key blob primary key, value blob) without rowid"); err != nil {
		return nil, err
	}
	upsert, err := db.Prepare("insert or replace into records values (?, ?)")
	return sqlite{db, upsert}, err
}

func (s sqlite) put(records []record) error {
	tx, err := s.Begin()
	if err != nil {
		return err
	}
	defer tx.Rollback()
	upsert := tx.Stmt(s.upsert)
	for _, r := range records {
		if _, err := upsert.Exec(r.key, r.value); err != nil {
			return err
		}
	}
	return tx.Commit()
}
