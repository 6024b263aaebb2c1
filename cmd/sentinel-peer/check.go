package main

import (
	"bufio"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"syscall"

	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/gossip/transport"
	"github.com/sentinel-peer/sentinel-peer/internal/mcpserver"
)

// checked is what the daemon's settings stand for.
type checked struct {
	logger *slog.Logger
	keys   [][]byte
	rules  []crdt.Rule
	access access
}

// check reads what the settings name, and says all that is wrong with them.
func (d *daemon) check() (c checked, err error) {
	var faults []error
	fault := func(err error) { faults = append(faults, err) }
	if d.cluster == "" {
		fault(errors.New("--cluster is required: only peers of one cluster talk to each other"))
	}
	level, err := parseLevel(d.logLevel)
	fault(err)
	c.logger = slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level}))
	c.rules, err = parseRules(d.rules)
	fault(err)
	c.keys, err = readKeys(d.keyFile)
	fault(err)
	fault(d.sealed())
	if m := mcpserver.Memory(d.mcpMemory); m != mcpserver.Memory2 && m != mcpserver.Memory3 && m != mcpserver.MemoryBoth {
		fault(fmt.Errorf("--mcp-memory %q: want 2, 3 or both", d.mcpMemory))
	}
	c.access, err = d.serve.open(c.logger)
	fault(err)
	if err == nil {
		fault(d.serve.reachable(d.http, c.access))
	}
	return c, errors.Join(faults...)
}

// sealed refuses to be open beyond loopback without a key.
func (d *daemon) sealed() error {
	host, _, err := net.SplitHostPort(d.bind)
	if err != nil || d.keyFile != "" || host != "" && net.ParseIP(host) == nil || isLoopback(host) {
		return nil // to listen there says what is wrong
	}
	return fmt.Errorf("--bind %s is beyond loopback, and %s", d.bind, wantKey)
}

const wantKey = "wants --key-file: make a key with 'sentinel-peer keygen', and give it to every peer"

func parseLevel(name string) (level slog.Level, err error) {
	if err := level.UnmarshalText([]byte(name)); err != nil {
		return level, fmt.Errorf("--log-level %q: want debug, info, warn or error", name)
	}
	return level, nil
}

// explained says what to do about an address that the daemon cannot be at.
func explained(err error, flag string) error {
	switch {
	case addressTaken(err):
		return fmt.Errorf("%w: another peer may run here: stop it, or choose another %s", err, flag)
	case errors.Is(err, transport.ErrPlaintextBind):
		return fmt.Errorf("%w: it %s", err, wantKey)
	}
	return err
}

func addressTaken(err error) bool {
	const windows syscall.Errno = 10048 // WSAEADDRINUSE, which no other system has
	return errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, windows)
}

func parseRules(list []string) ([]crdt.Rule, error) {
	var rules []crdt.Rule
	for _, s := range list {
		pattern, name, ok := strings.Cut(s, "=")
		kind, err := crdt.ParseKind(name)
		if !ok || err != nil || kind == crdt.Custom {
			return nil, fmt.Errorf("--rule %q: want PATTERN=TYPE with register, set, max, counter or object", s)
		}
		rules = append(rules, crdt.Rule{Pattern: pattern, Kind: kind})
	}
	return rules, nil
}

// readKeys reads a key file: hex or base64, one key a line, # for comments.
func readKeys(file string) ([][]byte, error) {
	if file == "" {
		return nil, nil
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var keys [][]byte
	for s, n := bufio.NewScanner(f), 1; s.Scan(); n++ {
		line := strings.TrimSpace(s.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		key, err := hex.DecodeString(line)
		if err != nil {
			key, err = base64.StdEncoding.DecodeString(line)
		}
		if err != nil || len(key) != 16 && len(key) != 24 && len(key) != 32 {
			return nil, fmt.Errorf("%s:%d: want 16, 24 or 32 bytes in hex or base64", file, n)
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("%s: holds no key", file)
	}
	return keys, nil
}
