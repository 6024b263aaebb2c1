package fence

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// File guards with a file that the processes of one machine share. The file is rewritten and
// synced whenever a token rises; a lock on the file path.lock keeps processes apart. It is
// meant for some hundred resources. On a network file system flock must work.
type File struct{ path string }

// NewFile returns a guard over the file path. The file need not exist, but its directory must.
func NewFile(path string) *File { return &File{path} }

const fileHeader = "sentinel-peer fence 1"

// Check admits token if no higher one was seen for resource, and else returns a *StaleError. It
// waits for other processes until ctx ends.
func (g *File) Check(ctx context.Context, resource string, token uint64) error {
	return g.Do(ctx, resource, token, func() error { return nil })
}

// Do calls write if token is admitted, and returns its error. Until write returns, no other
// process can write through a guard over the same path.
func (g *File) Do(ctx context.Context, resource string, token uint64, write func() error) error {
	if err := validate(resource, token); err != nil {
		return err
	}
	unlock, err := g.lock(ctx)
	if err != nil {
		return fmt.Errorf("fence %s: %w", g.path, err)
	}
	defer unlock()
	highest, err := g.read()
	if err != nil {
		return err
	}
	switch high := highest[resource]; {
	case token < high:
		return &StaleError{resource, token, high}
	case token > high:
		highest[resource] = token
		if err := g.write(highest); err != nil {
			return fmt.Errorf("fence %s: %w", g.path, err)
		}
	}
	return write()
}

// lock takes the lock on path.lock. It polls, since flock cannot be interrupted by ctx.
func (g *File) lock(ctx context.Context) (unlock func(), err error) {
	f, err := os.OpenFile(g.path+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		switch ok, err := tryLock(f); {
		case err != nil:
			f.Close()
			return nil, err
		case ok:
			return func() { f.Close() }, nil // closing the file unlocks it
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			f.Close()
			return nil, context.Cause(ctx)
		}
	}
}

// read returns the highest token of each resource. A damaged file is an error, since starting
// over would let stale holders in.
func (g *File) read() (map[string]uint64, error) {
	highest := make(map[string]uint64)
	b, err := os.ReadFile(g.path)
	if errors.Is(err, fs.ErrNotExist) {
		return highest, nil
	}
	if err != nil {
		return nil, err
	}
	lines := bufio.NewScanner(bytes.NewReader(b))
	if !lines.Scan() || lines.Text() != fileHeader {
		return nil, fmt.Errorf("fence %s: it does not begin with %q", g.path, fileHeader)
	}
	for lines.Scan() {
		number, quoted, _ := strings.Cut(lines.Text(), " ")
		token, err1 := strconv.ParseUint(number, 10, 64)
		resource, err2 := strconv.Unquote(quoted)
		if err := errors.Join(err1, err2); err != nil {
			return nil, fmt.Errorf("fence %s: line %q: %w", g.path, lines.Text(), err)
		}
		highest[resource] = token
	}
	return highest, lines.Err()
}

// write makes the tokens durable: it writes and syncs a new file, renames it over the old one and
// syncs the directory.
func (g *File) write(highest map[string]uint64) error {
	var b bytes.Buffer
	fmt.Fprintln(&b, fileHeader)
	for _, resource := range slices.Sorted(maps.Keys(highest)) {
		fmt.Fprintf(&b, "%d %q\n", highest[resource], resource)
	}
	f, err := os.CreateTemp(filepath.Dir(g.path), filepath.Base(g.path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // has no effect once the file is renamed
	_, err = f.Write(b.Bytes())
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), g.path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(g.path))
}
