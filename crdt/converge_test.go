package crdt

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// replica is a store with the clock and the log of deltas that a test needs.
type replica struct {
	*Store
	hlc   clock.HLC
	actor clock.Actor
	log   []packet // a section for each delta that the replica made
}

type packet struct {
	actors []clock.Actor
	bytes  []byte
}

func newReplica(id uint64) *replica {
	a := clock.Actor{Birth: 1, Rand: id}
	return &replica{Store: New(Config{Actor: a}), actor: a}
}

func (r *replica) apply(t testing.TB, ops ...Op) error {
	t.Helper()
	return r.applyAt(t, 1000, ops...)
}

func (r *replica) applyAt(t testing.TB, now uint64, ops ...Op) error {
	t.Helper()
	ds, err := r.Apply(r.hlc.Now(time.UnixMilli(int64(now))), now, ops...)
	for _, d := range ds {
		var table ActorTable
		b := r.AppendSection(nil, &table, d.Actor(), d.Seq(), d.Seq(), []Delta{d})
		r.log = append(r.log, packet{table.Actors(), b})
	}
	return err
}

func (r *replica) receive(t testing.TB, p packet) {
	t.Helper()
	rd := wire.NewReader(p.bytes)
	res, err := r.JoinSection(&rd, p.actors, clock.Timestamp(1<<62))
	if err != nil {
		t.Fatalf("join: %v", err)
	}
	r.hlc.Observe(res.MaxStamp)
}

func randomOp(rng *rand.Rand) Op {
	key := fmt.Sprintf("k%d", rng.IntN(2))
	val := func() Value { v, _ := ValueOf(rng.IntN(3)); return v }
	field := string(rune('a' + rng.IntN(2)))
	switch rng.IntN(18) {
	case 12:
		return Op{Verb: Put, Key: key, Path: []string{field}, Value: val()}
	case 13:
		return Op{Verb: Delete, Key: key, Path: []string{field}}
	case 14:
		v, _ := ValueOf([]any{rng.IntN(3), rng.IntN(3)})
		return Op{Verb: Put, Key: key, Kind: Set, Value: v}
	case 15:
		v, _ := ValueOf(map[string]any{field: []any{}, "b": map[string]any{}})
		return Op{Verb: Patch, Key: key, Value: v}
	case 16:
		return Op{Verb: Increment, Key: key, Path: []string{field, "n"}, Delta: 1}
	case 17:
		return Op{Verb: Add, Key: key, Path: []string{field, "y"}, Values: []Value{val()}}
	case 0, 1:
		return Op{Verb: Put, Kind: Register, Key: key, Value: val()}
	case 2:
		return Op{Verb: Delete, Key: key}
	case 3, 4:
		return Op{Verb: Add, Key: key, Values: []Value{val()}}
	case 5:
		return Op{Verb: Remove, Key: key, Values: []Value{val()}}
	case 6:
		return Op{Verb: Increment, Key: key, Delta: int64(rng.IntN(5) - 2)}
	case 7:
		return Op{Verb: Bump, Key: key, Value: val()}
	case 8:
		v, _ := ValueOf(map[string]any{field: rng.IntN(3)})
		return Op{Verb: Patch, Key: key, Value: v}
	case 9:
		v, _ := ValueOf(map[string]any{field: map[string]any{"x": rng.IntN(3), "y": []any{rng.IntN(3)}}})
		return Op{Verb: Patch, Key: key, Value: v}
	case 10:
		v, _ := ValueOf(map[string]any{field: rng.IntN(3)})
		return Op{Verb: Put, Key: key, Kind: Object, Value: v}
	}
	return Op{Verb: Put, Key: key, Kind: Custom, Value: val()}
}

// Replicas converge by deltas alone, whatever the order of the deltas and however often
// each arrives, while writes go on between deliveries.
func TestDeltasConvergeInAnyOrder(t *testing.T) {
	for seed := range uint64(3000) {
		rng := rand.New(rand.NewPCG(seed, 1))
		rs := []*replica{newReplica(1), newReplica(2), newReplica(3)}
		got := make([]map[int]bool, 9) // from*3+to → delivered
		for i := range got {
			got[i] = map[int]bool{}
		}
		for range 24 {
			from := rng.IntN(3)
			if rng.IntN(2) == 0 {
				_ = rs[from].apply(t, randomOp(rng)) // the operation may be refused for the kind of its key
				continue
			}
			to := rng.IntN(3)
			if to != from && len(rs[from].log) > 0 {
				i := rng.IntN(len(rs[from].log))
				rs[to].receive(t, rs[from].log[i])
				got[from*3+to][i] = true
			}
		}
		for from := range rs {
			for to := range rs {
				for _, i := range rng.Perm(len(rs[from].log)) {
					if from != to {
						rs[to].receive(t, rs[from].log[i])
					}
				}
			}
		}
		a := rs[0].AppendState(nil)
		for _, r := range rs[1:] {
			if !bytes.Equal(a, r.AppendState(nil)) || rs[0].Sum() != r.Sum() {
				t.Fatalf("seed %d: replicas differ", seed)
			}
			for _, k := range []string{"k0", "k1"} {
				x, _ := rs[0].Render(k, 1000)
				y, _ := r.Render(k, 1000)
				if (x.r == nil) != (y.r == nil) || x.r != nil && (x.Value() != y.Value() || x.Version() != y.Version()) {
					t.Fatalf("seed %d: %s reads differently", seed, k)
				}
			}
		}
	}
}
