package daemon

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/gossip/transport"
	"github.com/sentinel-peer/sentinel-peer/internal/aside"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/client"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/console"
	"github.com/sentinel-peer/sentinel-peer/internal/mcpserver"
	"github.com/sentinel-peer/sentinel-peer/lockservice"
)

// checked is the daemon's settings after their check, with the contents of their files.
type checked struct {
	logger *slog.Logger
	keys   [][]byte
	rules  []crdt.Rule
	access access
}

// maxCluster is the greatest length of a cluster's name in bytes, the same as in package agent.
const maxCluster = 64

// check reads the files that the settings name, and returns all faults of the settings as one.
func (d *daemon) check(ctx context.Context) (c checked, err error) {
	var faults []error
	fault := func(err error) { faults = append(faults, err) }
	if d.cluster == "" {
		fault(errors.New("--cluster is required: only peers of one cluster talk to each other"))
	}
	if len(d.cluster) > maxCluster {
		fault(fmt.Errorf("--cluster %.20q…: its %d bytes are more than %d", d.cluster, len(d.cluster), maxCluster))
	}
	if d.drain < 0 {
		fault(fmt.Errorf("--drain %v: want 0 or more", d.drain))
	}
	if d.batch < 0 || d.batch > 24*time.Hour {
		fault(fmt.Errorf("--batch-interval %v: want 0 to 24h", d.batch))
	}
	if d.heartbeat != 0 && d.heartbeat < 100*time.Millisecond {
		fault(fmt.Errorf("--heartbeat-interval %v: want 100ms or more, or 0 for none", d.heartbeat))
	}
	if d.ttl != 0 && d.ttl < time.Second {
		fault(fmt.Errorf("--default-ttl %v: want 1s or more, or 0 to keep records for ever", d.ttl))
	}
	if d.maxTTL < lockservice.LeastTTL || d.maxTTL > 24*time.Hour {
		fault(fmt.Errorf("--max-ttl %v: want %v to 24h", d.maxTTL, lockservice.LeastTTL))
	}
	level, err := parseLevel(d.logLevel)
	fault(err)
	c.logger = slog.New(slog.NewTextHandler(console.Stderr, &slog.HandlerOptions{Level: level}))
	c.rules, err = parseRules(d.rules)
	fault(err)
	c.keys, err = ReadKeys(ctx, d.keyFile)
	fault(err)
	fault(d.sealed())
	for _, file := range []string{d.keyFile, d.serve.tokenFile, d.serve.keyFile} {
		if readByOthers(ctx, file) {
			c.logger.Warn("others than its owner may read this file: chmod 600 it", "file", file)
		}
	}
	for _, seed := range d.join {
		fault(joinable(seed))
	}
	if m := mcpserver.Memory(d.mcpMemory); m != mcpserver.Memory2 && m != mcpserver.Memory3 && m != mcpserver.MemoryBoth {
		fault(fmt.Errorf("--mcp-memory %q: want 2, 3 or both", d.mcpMemory))
	}
	c.access, err = d.serve.open(ctx, c.logger)
	fault(err)
	if err == nil {
		fault(d.serve.reachable(d.http, c.access))
	}
	return c, errors.Join(faults...)
}

// readByOthers reports whether every user of the machine may read a file. The file's group may
// read it: secrets of Kubernetes are mounted so.
func readByOthers(ctx context.Context, file string) bool {
	if file == "" || runtime.GOOS == "windows" {
		return false
	}
	f, err := aside.ReadFile(ctx, file)
	return err == nil && f.Mode.Perm()&0o007 != 0
}

// joinable refuses a seed that is neither a host nor host:port.
func joinable(seed string) error {
	host, port, err := net.SplitHostPort(seed)
	if err != nil {
		host, port = strings.Trim(seed, "[]"), "0"
		if _, err := netip.ParseAddr(host); err != nil && strings.Contains(host, ":") {
			host = ""
		}
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil || host == "" || strings.ContainsAny(host, "/ ") {
		return fmt.Errorf("--join %q: want the host:port of a peer's --bind, or a host alone", seed)
	}
	return nil
}

// complete adds the usual port to addresses without one.
func (d *daemon) complete() {
	d.bind = withPort(d.bind, defaultGossip)
	d.advertise = withPort(d.advertise, d.bind)
}

// withPort returns an address, with the port of another address if it has none of its own.
func withPort(addr, other string) string {
	host := strings.Trim(addr, "[]")
	_, port, err := net.SplitHostPort(other)
	_, notIP := netip.ParseAddr(host)
	if addr == "" || err != nil || notIP != nil && strings.Contains(host, ":") {
		return addr
	}
	return net.JoinHostPort(host, port)
}

// sealed refuses to listen for peers beyond loopback without a key.
func (d *daemon) sealed() error {
	host, _, err := net.SplitHostPort(d.bind)
	if err != nil || d.keyFile != "" || host != "" && net.ParseIP(host) == nil || client.IsLoopback(host) {
		return nil // if the address is wrong, listening there fails and says why
	}
	return fmt.Errorf("--bind %s is beyond loopback, which %s", d.bind, wantKey)
}

const wantKey = "needs --key-file: make a key with 'sentinel-peer keygen FILE', and give it to every peer"

func parseLevel(name string) (level slog.Level, err error) {
	if err := level.UnmarshalText([]byte(name)); err != nil {
		return level, fmt.Errorf("--log-level %q: want debug, info, warn or error", name)
	}
	return level, nil
}

// explained adds advice to the error of an address on which the daemon cannot listen.
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
	const windows syscall.Errno = 10048 // WSAEADDRINUSE, a number that no other system uses
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

// ReadKeys reads a key file: one key a line in hex or base64, and # for comments.
func ReadKeys(ctx context.Context, file string) ([][]byte, error) {
	if file == "" {
		return nil, nil
	}
	f, err := aside.ReadFile(ctx, file)
	if err != nil {
		return nil, err
	}
	var keys [][]byte
	for s, n := bufio.NewScanner(bytes.NewReader(f.Text)), 1; s.Scan(); n++ {
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
		if slices.ContainsFunc(keys, func(k []byte) bool { return bytes.Equal(k, key) }) {
			return nil, fmt.Errorf("%s:%d: this key is there twice", file, n)
		}
		if keys = append(keys, key); len(keys) > transport.MaxKeys {
			return nil, fmt.Errorf("%s:%d: want no more than %d keys", file, n, transport.MaxKeys)
		}
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("%s: holds no key", file)
	}
	return keys, nil
}
