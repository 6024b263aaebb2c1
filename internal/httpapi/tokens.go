package httpapi

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/sentinel-peer/sentinel-peer/internal/api"
	"github.com/sentinel-peer/sentinel-peer/internal/aside"
)

// Tokens are the callers that a file names, one a line:
//
//	# name  token, or its SHA-256    what it may do
//	ci      sha256:1f3870be…         read:tasks/ write:memory/ci/ lock:deploy
//	ops     zXh4dm5ocnB0Y2V3c2Zq…    write:* lock:* admin
//
// A key or lock stands for all below it, * for all there are. Of a token only the hash
// is kept.
type Tokens struct {
	file string
	log  *slog.Logger
	list atomic.Pointer[[]*token]
}

type token struct {
	hash     [sha256.Size]byte
	grant    *api.Grant
	withdraw func() // whoever acts by its grant
	client   *client
}

const (
	maxTokens = 1000
	minToken  = 20 // characters: what is shorter can be guessed
	maxToken  = 512
	hashed    = "sha256:"
)

// LoadTokens reads a file, and warns of one that everybody on the machine can read.
func LoadTokens(ctx context.Context, file string, log *slog.Logger) (*Tokens, error) {
	t := &Tokens{file: file, log: log}
	list, err := t.read(ctx)
	if err != nil {
		return nil, err
	}
	t.list.Store(&list)
	return t, nil
}

// Reload reads the file again. The callers it does not name any more, or lets do other
// things, are turned away: their streams and waits end. After an error all is as before.
func (t *Tokens) Reload(ctx context.Context) error {
	list, err := t.read(ctx)
	if err != nil {
		return err
	}
	var withdrawn []*token
	for _, old := range *t.list.Load() {
		i := slices.IndexFunc(list, old.same)
		if i < 0 {
			withdrawn = append(withdrawn, old)
			continue
		}
		list[i] = old
	}
	t.list.Store(&list)
	for _, old := range withdrawn {
		old.withdraw()
	}
	return nil
}

// same says whether another reading of the file found the same token, which may do the same.
func (t *token) same(other *token) bool {
	return t.hash == other.hash && t.grant.Name == other.grant.Name && slices.Equal(t.grant.Rights, other.grant.Rights)
}

func (t *Tokens) read(ctx context.Context) ([]*token, error) {
	f, err := aside.ReadFile(ctx, t.file)
	if err != nil {
		return nil, err
	}
	if f.Mode.Perm()&0o004 != 0 && runtime.GOOS != "windows" { // whose modes say nothing
		t.log.Warn("everybody on this machine can read the tokens: chmod 600", "file", t.file)
	}
	return parseTokens(bytes.NewReader(f.Text), t.file)
}

func parseTokens(r io.Reader, file string) ([]*token, error) {
	var list []*token
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		fields := strings.Fields(lines.Text())
		if len(fields) == 0 || fields[0][0] == '#' {
			continue
		}
		k, err := parseToken(fields)
		for _, other := range list {
			if err == nil && (other.grant.Name == k.grant.Name || other.hash == k.hash) {
				err = fmt.Errorf("%q has its name or its token", other.grant.Name)
			}
		}
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", file, n, err)
		}
		if list = append(list, k); len(list) > maxTokens {
			return nil, fmt.Errorf("%s:%d: over %d tokens", file, n, maxTokens)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("%s: names no token, and nobody could call", file)
	}
	return list, nil
}

// parseToken reads the fields of a line. Its errors do not show the token.
func parseToken(fields []string) (*token, error) {
	if len(fields) < 3 {
		return nil, errors.New("want a name, a token, and what it may do, such as read:tasks/ write:memory/ci/ lock:deploy admin")
	}
	withdrawn := make(chan struct{})
	k := &token{grant: &api.Grant{Name: fields[0], Withdrawn: withdrawn}, withdraw: func() { close(withdrawn) }, client: newClient()}
	if digits, ok := strings.CutPrefix(fields[1], hashed); ok {
		if n, err := hex.Decode(k.hash[:], []byte(digits)[:min(len(digits), 2*len(k.hash))]); err != nil || n != len(k.hash) || len(digits) != 2*n {
			return nil, fmt.Errorf("want 64 hex digits after %s", hashed)
		}
	} else {
		if len(fields[1]) < minToken || len(fields[1]) > maxToken || strings.ContainsFunc(fields[1], notToken) {
			return nil, fmt.Errorf("the token: want %d to %d letters, digits or - . _ ~ + / =, or %s and the SHA-256 of one", minToken, maxToken, hashed)
		}
		k.hash = sha256.Sum256([]byte(fields[1]))
	}
	for _, f := range fields[2:] {
		right, err := parseRight(f)
		if err != nil {
			return nil, err
		}
		k.grant.Rights = append(k.grant.Rights, right)
	}
	return k, nil
}

// notToken says whether a bearer token cannot have c (RFC 6750, 2.1).
func notToken(c rune) bool {
	return !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.ContainsRune("-._~+/=", c))
}

func parseRight(s string) (api.Right, error) {
	verb, key, _ := strings.Cut(s, ":")
	switch v := api.Verb(verb); {
	case s == string(api.Admin):
		return api.Right{Verb: api.Admin}, nil
	case v != api.Read && v != api.Write && v != api.Lock:
		return api.Right{}, fmt.Errorf("%q: want read:KEY, write:KEY, lock:NAME or admin", s)
	case strings.Trim(key, "/") == "" || key[0] == '/':
		return api.Right{}, fmt.Errorf("%q: want a key after the colon, or * for all", s)
	case key != api.Everything && strings.ContainsAny(key, "*?"):
		return api.Right{}, fmt.Errorf("%q: a key stands for all below it, and takes no wildcards", s)
	default:
		return api.Right{Verb: v, Key: key}, nil
	}
}

// find returns who shows this token, nil if it is nobody's.
func (t *Tokens) find(text string) *token {
	return t.byHash(sha256.Sum256([]byte(text)))
}

// byHash compares with all there are, in a time that tells nothing of how far a hash
// agrees.
func (t *Tokens) byHash(hash [sha256.Size]byte) (found *token) {
	for _, k := range *t.list.Load() {
		if subtle.ConstantTimeCompare(hash[:], k.hash[:]) == 1 {
			found = k
		}
	}
	return found
}
