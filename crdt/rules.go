package crdt

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// Rule gives the keys that match Pattern a kind.
type Rule struct {
	Pattern  string // glob over keys; see [CompilePattern]
	Kind     Kind
	Resolver string // name of the user's function; required for Custom, and not allowed for other kinds
}

// Rules decide the kind of each key: the first rule whose pattern matches applies. Rules
// are immutable. A nil *Rules matches nothing.
type Rules struct {
	rules       []Rule
	patterns    []Pattern
	fingerprint uint64
}

// NewRules compiles rules. Its error reports every fault of every rule, counting the rules
// from 1.
func NewRules(rules ...Rule) (*Rules, error) {
	r := &Rules{rules: slices.Clone(rules)}
	var faults []error
	for i, rule := range r.rules {
		p, err := CompilePattern(rule.Pattern)
		if err = errors.Join(err, rule.validate()); err != nil {
			faults = append(faults, fmt.Errorf("rule %d (%q): %w", i+1, rule.Pattern, err))
		}
		r.patterns = append(r.patterns, p)
	}
	if faults != nil {
		return nil, errors.Join(faults...)
	}
	r.fingerprint = fingerprint(r.rules)
	return r, nil
}

func (r Rule) validate() error {
	switch {
	case r.Kind < Register || r.Kind > Custom:
		return fmt.Errorf("no such type %d", r.Kind)
	case r.Kind == Custom && r.Resolver == "":
		return errors.New("the type custom needs the name of a resolver")
	case r.Kind != Custom && r.Resolver != "":
		return fmt.Errorf("only the type custom has a resolver, not %s", r.Kind)
	}
	return nil
}

// Match returns the first rule whose pattern matches key, and false if there is none.
func (r *Rules) Match(key string) (Rule, bool) {
	if r != nil {
		for i := range r.patterns {
			if r.patterns[i].Match(key) {
				return r.rules[i], true
			}
		}
	}
	return Rule{}, false
}

// Fingerprint identifies the rules and their order. It is the same in all versions of this
// program. Peers compare it, because peers with different rules would refuse each other's
// kinds and read custom keys differently.
func (r *Rules) Fingerprint() uint64 {
	if r == nil {
		return fingerprint(nil)
	}
	return r.fingerprint
}

func fingerprint(rules []Rule) uint64 {
	b := wire.AppendArray(nil, len(rules))
	for _, r := range rules {
		b = wire.AppendStr(wire.AppendArray(b, 3), r.Pattern)
		b = wire.AppendStr(wire.AppendStr(b, r.Kind.String()), r.Resolver)
	}
	sum := sha256.Sum256(b)
	return binary.BigEndian.Uint64(sum[:])
}
