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

// These keys are a contract with every peer, in any language.
func TestDefaultRulesGiveTheSharedKeysTheirKinds(t *testing.T) {
	r := mustRules(t)
	f := func(key string, want Kind) {
		t.Helper()
		rule, ok := r.Match(key)
		if ok != (want != 0) || rule.Kind != want {
			t.Errorf("%s: %v %t, want %s", key, rule, ok, want)
		}
	}
	f("task-sentinel/tasks/t1/state", Object)
	f("task-sentinel/tasks/t1/progress", Object)
	f("task-sentinel/tasks/t1/lock", Register)
	f("task-sentinel/tasks/t1/agents/a1", Object)
	f("task-sentinel/workers/w1/status", Register)
	f("task-sentinel/workers/w1/capacity", Register)
	f("task-sentinel/workers/w1/heartbeat", Register)
	f("task-sentinel/coordination/queue", Object)
	f("task-sentinel/coordination/assignments", Object)
	f("task-sentinel/coordination/metrics", Object)
	f("task-sentinel/tasks/t1", 0)
	f("task-sentinel/tasks/t1/state/x", 0)
	f("tasks/t1/state", 0)
	f("x/task-sentinel/coordination/queue", 0)
}

func TestTheFirstRuleWins(t *testing.T) {
	r := mustRules(t, Rule{Pattern: "a/b", Kind: Set}, Rule{Pattern: "a/*", Kind: Max}, Rule{Pattern: "a/**", Kind: Counter},
		Rule{Pattern: "task-sentinel/coordination/queue", Kind: Register})
	for key, want := range map[string]Kind{"a/b": Set, "a/c": Max, "a/c/d": Counter, "a": Counter, "task-sentinel/coordination/queue": Register} {
		if rule, _ := r.Match(key); rule.Kind != want {
			t.Errorf("%s: %v, want %s", key, rule, want)
		}
	}
}

func TestNoRulesMatchNothing(t *testing.T) {
	var r *Rules
	if _, ok := r.Match("task-sentinel/coordination/queue"); ok {
		t.Error("nil rules match")
	}
	if r.Fingerprint() == mustRules(t).Fingerprint() {
		t.Error("nil rules have the fingerprint of the default ones")
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

// Peers of different versions compare fingerprints: a change here splits fleets.
func TestTheFingerprintIsStable(t *testing.T) {
	f := func(want uint64, rules ...Rule) {
		t.Helper()
		if got := mustRules(t, rules...).Fingerprint(); got != want {
			t.Errorf("fingerprint %#x, want %#x", got, want)
		}
	}
	f(0xdf26ecfd8b76272c)
	f(0xd5491e7c8fde2198, Rule{Pattern: "votes/*", Kind: Custom, Resolver: "majority"})
}

func BenchmarkRulesMatch(b *testing.B) {
	r := mustRules(b)
	for name, key := range map[string]string{"first": "task-sentinel/tasks/1/state", "last": "task-sentinel/coordination/metrics", "none": "config/color"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r.Match(key)
			}
		})
	}
}
