package crdt

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
)

// Rule gives the keys that match Pattern a kind.
type Rule struct {
	Pattern  string
	Kind     Kind
	Resolver string // for Custom: the name of the user's function
}

// Rules decide the kind of each key: the first that matches wins.
type Rules struct {
	rules    []Rule
	patterns []Pattern
}

// DefaultRules returns the rules behind every user's own: the kinds of the
// task-sentinel namespaces.
func DefaultRules() []Rule {
	return []Rule{
		{Pattern: "task-sentinel/tasks/*/state", Kind: Object},
		{Pattern: "task-sentinel/tasks/*/progress", Kind: Object},
		{Pattern: "task-sentinel/tasks/*/agents/*", Kind: Object},
		{Pattern: "task-sentinel/coordination/queue", Kind: Object},
		{Pattern: "task-sentinel/coordination/assignments", Kind: Object},
		{Pattern: "task-sentinel/coordination/metrics", Kind: Object},
	}
}

// NewRules compiles rules followed by the default ones. It reports every fault
// of every rule.
func NewRules(rules ...Rule) (*Rules, error) {
	r := &Rules{rules: append(append([]Rule(nil), rules...), DefaultRules()...)}
	var faults []error
	for i, rule := range r.rules {
		p, err := CompilePattern(rule.Pattern)
		if err == nil && (rule.Kind < Register || rule.Kind > Custom) {
			err = fmt.Errorf("no such type %d", rule.Kind)
		}
		if err == nil && (rule.Kind == Custom) != (rule.Resolver != "") {
			err = errors.New("a custom type needs a resolver, and only a custom type has one")
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("rule %d (%q): %w", i+1, rule.Pattern, err))
		}
		r.patterns = append(r.patterns, p)
	}
	return r, errors.Join(faults...)
}

// Match returns the first rule for key.
func (r *Rules) Match(key string) (Rule, bool) {
	if r != nil {
		for i, p := range r.patterns {
			if p.Match(key) {
				return r.rules[i], true
			}
		}
	}
	return Rule{}, false
}

// Fingerprint identifies the rules and their order. Peers compare it: with
// different rules they would read the same records differently.
func (r *Rules) Fingerprint() uint64 {
	h := sha256.New()
	for _, rule := range r.rules {
		fmt.Fprintf(h, "%q %d %q\n", rule.Pattern, rule.Kind, rule.Resolver)
	}
	return binary.BigEndian.Uint64(h.Sum(nil))
}
