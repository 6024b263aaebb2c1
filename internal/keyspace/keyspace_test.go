package keyspace

import (
	"testing"

	"github.com/sentinel-peer/sentinel-peer/crdt"
)

// These keys are a contract with every peer, in any language.
func TestTheSharedKeysHaveTheirTypes(t *testing.T) {
	r, err := crdt.NewRules(Rules(nil)...)
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]crdt.Kind{
		"task-sentinel/tasks/t1/state":           crdt.Object,
		"task-sentinel/tasks/t1/progress":        crdt.Object,
		"task-sentinel/tasks/t1/lock":            crdt.Register,
		"task-sentinel/tasks/t1/agents/a1":       crdt.Object,
		"task-sentinel/workers/w1/status":        crdt.Register,
		"task-sentinel/workers/w1/capacity":      crdt.Register,
		"task-sentinel/workers/w1/heartbeat":     crdt.Register,
		"task-sentinel/coordination/queue":       crdt.Object,
		"task-sentinel/coordination/assignments": crdt.Object,
		"task-sentinel/coordination/metrics":     crdt.Object,
		"task-sentinel/tasks/t1":                 0,
		"task-sentinel/tasks/t1/state/x":         0,
		"tasks/t1/state":                         0,
		"x/task-sentinel/coordination/queue":     0,
	} {
		if rule, ok := r.Match(key); ok != (want != 0) || rule.Kind != want {
			t.Errorf("%s: %v %t, want %s", key, rule, ok, want)
		}
	}
}

// A user's own rules come first. Peers of different versions compare fingerprints: a
// change of them splits fleets.
func TestOnesOwnRulesComeFirst(t *testing.T) {
	own := []crdt.Rule{{Pattern: "votes/*", Kind: crdt.Custom, Resolver: "majority"}, {Pattern: Queue, Kind: crdt.Register}}
	r, err := crdt.NewRules(Rules(own)...)
	if err != nil {
		t.Fatal(err)
	}
	if rule, _ := r.Match(Queue); rule.Kind != crdt.Register {
		t.Errorf("one's own rule for %s gives way to %v", Queue, rule)
	}
	for want, rules := range map[uint64][]crdt.Rule{0xdf26ecfd8b76272c: nil, 0xd5491e7c8fde2198: own[:1]} {
		if r, _ := crdt.NewRules(Rules(rules)...); r.Fingerprint() != want {
			t.Errorf("the fingerprint of %v is %#x, want %#x", rules, r.Fingerprint(), want)
		}
	}
}

func BenchmarkMatch(b *testing.B) {
	r, err := crdt.NewRules(Rules(nil)...)
	if err != nil {
		b.Fatal(err)
	}
	for name, key := range map[string]string{"first": Tasks + "1" + State, "last": Metrics, "none": "config/color"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r.Match(key)
			}
		})
	}
}
