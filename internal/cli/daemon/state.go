package daemon

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

// noState is the value of --state-dir that keeps nothing on disk.
const noState = "none"

// openState creates the folder for what must outlive this peer, and returns it; "" means that
// nothing is kept. Other processes are kept out of it until unlock, or the end of this process.
func (d *daemon) openState(logger *slog.Logger) (dir string, unlock func(), err error) {
	unlock = func() {}
	if d.stateDir == noState {
		return "", unlock, nil
	}
	dir = d.stateDir
	if dir == "" {
		if dir, err = defaultState(d.cluster, d.name); err == nil {
			err = os.MkdirAll(dir, 0o700)
		}
		if err != nil {
			logger.Warn("no folder for state: after a restart, tokens of locks rise by the wall clock only; name one with --state-dir", "err", err)
			return "", unlock, nil
		}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", unlock, fmt.Errorf("--state-dir: %w", err)
	}
	if unlock, err = lockFile(filepath.Join(dir, "in-use")); err != nil {
		if errors.Is(err, errInUse) {
			err = fmt.Errorf("state folder %s is used by another daemon: give each daemon its own with --state-dir", dir)
		}
		return "", func() {}, err
	}
	return dir, unlock, nil
}

// errInUse means that another process has locked a file.
var errInUse = errors.New("locked by another process")

// defaultState returns the folder of a peer: below that of systemd for state, else that of the
// user, else that of the system.
func defaultState(cluster, name string) (string, error) {
	base, _, _ := strings.Cut(os.Getenv("STATE_DIRECTORY"), ":")
	if base == "" {
		home, err := os.UserHomeDir()
		switch {
		case os.Getenv("XDG_STATE_HOME") != "":
			base = os.Getenv("XDG_STATE_HOME")
		case err == nil:
			base = filepath.Join(home, ".local", "state")
		case os.Geteuid() == 0:
			base = "/var/lib"
		default:
			return "", err
		}
		base = filepath.Join(base, "sentinel-peer")
	}
	return filepath.Join(base, segment(cluster), segment(name)), nil
}

// segment returns any name as one that a folder may have.
func segment(name string) string {
	if name = url.PathEscape(name); strings.Trim(name, ".") == "" {
		return strings.ReplaceAll(name, ".", "%2E")
	}
	return name
}
