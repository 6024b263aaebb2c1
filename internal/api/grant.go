package api

import (
	"context"
	"fmt"
	"strings"
)

// Verb is what may be done to a key or a lock.
type Verb string

// The verbs. Who may write a key may read it; who may lock a name may inspect it.
const (
	Read  Verb = "read"
	Write Verb = "write"
	Lock  Verb = "lock"  // of a lock's name, not of a key
	Admin Verb = "admin" // of the cluster, without a key
)

// Everything is the prefix of every key and lock.
const Everything = "*"

// Right is one thing that one may do. Its key stands for all below it: who reads
// tasks/42 reads tasks/42/state too, but not tasks/421.
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

// Grant is what a caller may do. A nil Grant may do everything: it is that of a
// daemon on loopback without tokens, and of programs within the process.
type Grant struct {
	Name   string // of the token
	Rights []Right
	// Withdrawn is closed when the token is withdrawn, or may do other things than
	// these; nil if it never is. What was begun by the grant ends then.
	Withdrawn <-chan struct{}
}

// Allows says whether the grant covers a right.
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

// MayRead says whether the grant covers reading key and all below it.
func (g *Grant) MayRead(key string) bool { return g.Allows(Right{Read, key}) }

// MayWrite says whether the grant covers writing key and all below it.
func (g *Grant) MayWrite(key string) bool { return g.Allows(Right{Write, key}) }

// MayLock says whether the grant covers the lock of this name.
func (g *Grant) MayLock(name string) bool { return g.Allows(Right{Lock, name}) }

// Check returns a *ForbiddenError if the grant does not cover want.
func (g *Grant) Check(want Right) error {
	if g.Allows(want) {
		return nil
	}
	return &ForbiddenError{g.Name, want}
}

// CheckMatch returns a *ForbiddenError if no key that matches the glob pattern may be
// read. Who reads some of them is shown those.
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

// literal returns the segments of a glob before the first that is no plain text.
func literal(pattern string) string {
	special := strings.IndexAny(pattern, `*?[]{}\`)
	if special < 0 {
		return pattern
	}
	return pattern[:strings.LastIndexByte(pattern[:special], '/')+1]
}

// below says whether key is prefix or lies below it, by whole segments.
func below(key, prefix string) bool {
	rest, ok := strings.CutPrefix(key, strings.TrimSuffix(prefix, "/"))
	return prefix == Everything || ok && (rest == "" || rest[0] == '/')
}

// ForbiddenError says which right a caller lacks.
type ForbiddenError struct {
	Name    string // of the caller's token
	Missing Right
}

// Error names the token and what it lacks.
func (e *ForbiddenError) Error() string {
	return fmt.Sprintf("token %q lacks %s", e.Name, e.Missing)
}

type grantKey struct{}

// WithGrant returns a context of what a caller may do.
func WithGrant(ctx context.Context, g *Grant) context.Context {
	return context.WithValue(ctx, grantKey{}, g)
}

// GrantOf returns what the caller of ctx may do: nil, everything, if nobody said.
func GrantOf(ctx context.Context) *Grant {
	g, _ := ctx.Value(grantKey{}).(*Grant)
	return g
}
