package crdt

import (
	"strings"
	"testing"
)

func mustRules(t testing.TB, rules ...Rule) *Rules {
	t.Helper()
	r, err := NewRules(rules...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestTheFirstRuleWins(t *testing.T) {
	r := mustRules(t, Rule{Pattern: "a/b", Kind: Set}, Rule{Pattern: "a/*", Kind: Max}, Rule{Pattern: "a/**", Kind: Counter})
	for key, want := range map[string]Kind{"a/b": Set, "a/c": Max, "a/c/d": Counter, "a": Counter, "b": 0} {
		if rule, _ := r.Match(key); rule.Kind != want {
			t.Errorf("%s: %v, want %s", key, rule, want)
		}
	}
}

func TestNoRulesMatchNothing(t *testing.T) {
	var r *Rules
	if _, ok := r.Match("a"); ok {
		t.Error("nil rules match")
	}
	if none := mustRules(t).Fingerprint(); r.Fingerprint() != none {
		t.Errorf("nil rules have the fingerprint %#x, no rules %#x", r.Fingerprint(), none)
	}
}

func TestEveryFaultOfEveryRuleIsReported(t *testing.T) {
	r, err := NewRules(
		Rule{Pattern: "a[", Kind: Set},
		Rule{Pattern: "b", Kind: 9},
		Rule{Pattern: "c", Kind: Custom},
		Rule{Pattern: "d", Kind: Set, Resolver: "f"},
		Rule{Pattern: "", Kind: 0},
		Rule{Pattern: "fine", Kind: Custom, Resolver: "f"},
	)
	if r != nil || err == nil {
		t.Fatal(r, err)
	}
	for _, want := range []string{`rule 1 ("a[")`, `rule 2 ("b"): no such type 9`, `rule 3 ("c"): the type custom needs`, `rule 4 ("d"): only the type custom`, `rule 5 (""): pattern is empty`, "no such type 0"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in:\n%v", want, err)
		}
	}
	if strings.Contains(err.Error(), "rule 6") {
		t.Error(err)
	}
}

func TestTheFingerprintTellsRulesAndTheirOrderApart(t *testing.T) {
	seen := make(map[uint64]string)
	f := func(name string, rules ...Rule) {
		t.Helper()
		p := mustRules(t, rules...).Fingerprint()
		if other, ok := seen[p]; ok {
			t.Errorf("%s and %s have one fingerprint", name, other)
		}
		seen[p] = name
		if mustRules(t, rules...).Fingerprint() != p {
			t.Errorf("%s has two fingerprints", name)
		}
	}
	a, b := Rule{Pattern: "a", Kind: Set}, Rule{Pattern: "b", Kind: Set}
	f("none")
	f("a", a)
	f("a, b", a, b)
	f("b, a", b, a)
	f("another kind", Rule{Pattern: "a", Kind: Max})
	f("a resolver", Rule{Pattern: "a", Kind: Custom, Resolver: "f"})
	f("another resolver", Rule{Pattern: "a", Kind: Custom, Resolver: "g"})
	f("a shifted border", Rule{Pattern: "aset", Kind: Set}, Rule{Pattern: "b", Kind: Set})
}
