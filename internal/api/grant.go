package api

import (
	"context"
	"fmt"
	"strings"
)

// Verb is a kind of access to a key or a lock.
type Verb string

// These are the verbs. Write includes Read; Lock includes inspecting the lock.
const (
	Read  Verb = "read"
	Write Verb = "write"
	Lock  Verb = "lock"  // its Key is a lock's name
	Admin Verb = "admin" // administration of the cluster, without a Key
)

// Everything is the Key that covers all keys and locks.
const Everything = "*"

// Right is a permission. Its Key covers all keys below it too: read:tasks/42 covers
// tasks/42/state, but not tasks/421.
type Right struct {
	Verb Verb
	Key  string
}

// String returns the right as a token file has it.
func (r Right) String() string {
	if r.Verb == Admin {
		return string(Admin)
	}
	return string(r.Verb) + ":" + r.Key
}

// Grant is what a caller may do. A nil Grant allows everything: it is that of programs within
// this process, and of all callers of a daemon on loopback without tokens.
type Grant struct {
	Name   string // the name of the token
	Rights []Right
	// Withdrawn is closed when the token is withdrawn or its rights change, which ends streams and
	// requests that use it; nil if neither ever happens.
	Withdrawn <-chan struct{}
}

// Allows reports whether the grant covers a right.
func (g *Grant) Allows(want Right) bool {
	if g == nil {
		return true
	}
	for _, have := range g.Rights {
		if (have.Verb == want.Verb || have.Verb == Write && want.Verb == Read) && (want.Verb == Admin || below(want.Key, have.Key)) {
			return true
		}
	}
	return false
}

// MayRead reports whether the grant covers reading a key and all keys below it.
func (g *Grant) MayRead(key string) bool { return g.Allows(Right{Read, key}) }

// MayLock reports whether the grant covers the lock of a name.
func (g *Grant) MayLock(name string) bool { return g.Allows(Right{Lock, name}) }

// Check returns a *ForbiddenError if the grant does not cover want.
func (g *Grant) Check(want Right) error {
	if g.Allows(want) {
		return nil
	}
	return &ForbiddenError{g.Name, want}
}

// CheckMatch returns a *ForbiddenError if the grant covers no key that could match a glob. A
// caller that may read some of the keys is shown those.
func (g *Grant) CheckMatch(pattern string) error {
	if g == nil {
		return nil
	}
	base := literal(pattern)
	for _, have := range g.Rights {
		if (have.Verb == Read || have.Verb == Write) && (base == "" || below(base, have.Key) || below(have.Key, base)) {
			return nil
		}
	}
	return &ForbiddenError{g.Name, Right{Read, pattern}}
}

// literal returns the segments of a glob before the first that has a special character.
func literal(pattern string) string {
	special := strings.IndexAny(pattern, `*?[]{}\`)
	if special < 0 {
		return pattern
	}
	return pattern[:strings.LastIndexByte(pattern[:special], '/')+1]
}

// below reports whether key is prefix or lies below it, by whole segments.
func below(key, prefix string) bool {
	rest, ok := strings.CutPrefix(key, strings.TrimSuffix(prefix, "/"))
	return prefix == Everything || ok && (rest == "" || rest[0] == '/')
}

// ForbiddenError is the error of a caller that lacks a right.
type ForbiddenError struct {
	Name    string // the name of the caller's token
	Missing Right
}

// Error names the token and the missing right.
func (e *ForbiddenError) Error() string {
	return fmt.Sprintf("token %q lacks %s", e.Name, e.Missing)
}

type grantKey struct{}

// WithGrant returns a context with the grant of a caller.
func WithGrant(ctx context.Context, g *Grant) context.Context {
	return context.WithValue(ctx, grantKey{}, g)
}

// GrantOf returns the grant in ctx; nil, which allows everything, if there is none.
func GrantOf(ctx context.Context) *Grant {
	g, _ := ctx.Value(grantKey{}).(*Grant)
	return g
}
