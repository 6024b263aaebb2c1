package journal

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Dir is a folder of the operating system.
type Dir string

func (d Dir) path(name string) string { return filepath.Join(string(d), name) }

func (d Dir) Lock() (io.Closer, error) {
	if err := os.MkdirAll(string(d), 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(d.path("LOCK"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := lock(f); err != nil {
		holder := make([]byte, 20)
		n, _ := f.ReadAt(holder, 0)
		f.Close()
		if errors.Is(err, ErrInUse) {
			err = fmt.Errorf("%w: process %s has %s open", ErrInUse, strings.TrimSpace(string(holder[:n])), d)
		}
		return nil, err
	}
	if err := errors.Join(f.Truncate(0), write(f, strconv.Itoa(os.Getpid())+"\n")); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func write(f *os.File, text string) error {
	_, err := f.WriteAt([]byte(text), 0)
	return err
}

func (d Dir) List() (names []string, err error) {
	entries, err := os.ReadDir(string(d))
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, err
}

func (d Dir) Create(name string, size int64) (File, error) {
	f, err := os.OpenFile(d.path(name), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := allocate(f, size); err != nil {
		return nil, errors.Join(err, f.Close(), os.Remove(f.Name()))
	}
	return file{f}, nil
}

func (d Dir) Open(name string) (File, error) {
	f, err := os.Open(d.path(name))
	return file{f}, err
}

func (d Dir) Rename(from, to string) error { return os.Rename(d.path(from), d.path(to)) }

func (d Dir) Remove(name string) error { return os.Remove(d.path(name)) }

func (d Dir) Sync() error { return syncFolder(string(d)) }

// file is a file of the operating system.
type file struct{ *os.File }

func (f file) Size() (int64, error) {
	stat, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return stat.Size(), nil
}
