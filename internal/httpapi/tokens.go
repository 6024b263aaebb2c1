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

// Tokens are the callers in a file, one a line:
//
//	# name  token, or its SHA-256    what the caller may do
//	ci      sha256:1f3870be…         read:tasks/ write:memory/ci/ lock:deploy
//	ops     zXh4dm5ocnB0Y2V3c2Zq…    write:* lock:* admin
//
// A key or a lock's name covers all below it, and * covers all. Only the hash of a token is kept.
type Tokens struct {
	file string
	log  *slog.Logger
	list atomic.Pointer[[]*token]
}

type token struct {
	hash     [sha256.Size]byte
	grant    *api.Grant
	withdraw func() // ends the streams and waits that use the grant
	client   *client
}

const (
	maxTokens = 1000
	minToken  = 20 // characters; a shorter token could be guessed
	maxToken  = 512
	hashed    = "sha256:"
)

// LoadTokens reads a file of tokens, and warns if every user of the machine can read it.
func LoadTokens(ctx context.Context, file string, log *slog.Logger) (*Tokens, error) {
	t := &Tokens{file: file, log: log}
	list, err := t.read(ctx)
	if err != nil {
		return nil, err
	}
	t.list.Store(&list)
	return t, nil
}

// Reload reads the file again. The streams and waits of a caller end if the file does not name it
// any more, or gives it other rights. After an error everything stays as it was.
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

// same reports whether another reading of the file has the same token with the same rights.
func (t *token) same(other *token) bool {
	return t.hash == other.hash && t.grant.Name == other.grant.Name && slices.Equal(t.grant.Rights, other.grant.Rights)
}

func (t *Tokens) read(ctx context.Context) ([]*token, error) {
	f, err := aside.ReadFile(ctx, t.file)
	if err != nil {
		return nil, err
	}
	if f.Mode.Perm()&0o004 != 0 && runtime.GOOS != "windows" { // on Windows the mode does not tell who may read
		t.log.Warn("every user of this machine can read the tokens: chmod 600", "file", t.file)
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
				err = fmt.Errorf("%q has the same name or the same token", other.grant.Name)
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
		return nil, fmt.Errorf("%s: it names no token, so nobody could call", file)
	}
	return list, nil
}

// parseToken reads the fields of a line. Its errors do not contain the token.
func parseToken(fields []string) (*token, error) {
	if len(fields) < 3 {
		return nil, errors.New("want a name, a token, and what the caller may do, such as read:tasks/ write:memory/ci/ lock:deploy admin")
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

// notToken reports whether a bearer token cannot contain c (RFC 6750, 2.1).
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
		return api.Right{}, fmt.Errorf("%q: a key covers all below it; wildcards are not allowed", s)
	default:
		return api.Right{Verb: v, Key: key}, nil
	}
}

// find returns the caller with a token, nil if there is none.
func (t *Tokens) find(text string) *token {
	return t.byHash(sha256.Sum256([]byte(text)))
}

// byHash compares a hash with those of all tokens, in a time that does not depend on how far it
// matches one of them.
func (t *Tokens) byHash(hash [sha256.Size]byte) (found *token) {
	for _, k := range *t.list.Load() {
		if subtle.ConstantTimeCompare(hash[:], k.hash[:]) == 1 {
			found = k
		}
	}
	return found
}
