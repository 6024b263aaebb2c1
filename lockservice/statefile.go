package lockservice

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// StateFile is the name of the file in SessionConfig.StateDir.
const StateFile = "locks.state"

// readState returns the state in dir, the zero State if there is none. A damaged file is an error,
// since a guess could let tokens fall.
func readState(dir string) (s State, err error) {
	b, err := os.ReadFile(filepath.Join(dir, StateFile))
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return s, err
	}
	var sum uint64
	if _, err := fmt.Sscanf(string(b), "sentinel-peer locks 1\nbound %d\nepoch %d\nsum %x\n", &s.TokenBound, &s.Epoch, &sum); err != nil {
		return s, fmt.Errorf("%s is damaged: %w", filepath.Join(dir, StateFile), err)
	}
	if sum != s.sum() {
		return s, fmt.Errorf("%s is damaged: its sum is %x, want %x", filepath.Join(dir, StateFile), sum, s.sum())
	}
	return s, nil
}

func (s State) sum() uint64 { return hash64(fmt.Sprint(s.TokenBound, s.Epoch)) }

// writeState makes s durable: it writes and syncs a new file, renames it over the old one and
// syncs the directory. No library is used: renameio v2.0 does not sync the directory
// (docs/decisions/0034).
func writeState(dir string, s State) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, StateFile+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // has no effect once the file is renamed
	_, err = fmt.Fprintf(f, "sentinel-peer locks 1\nbound %d\nepoch %d\nsum %x\n", s.TokenBound, s.Epoch, s.sum())
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), filepath.Join(dir, StateFile)); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
