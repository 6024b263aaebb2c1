package sim

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/sentinel-peer/sentinel-peer/crdt"
)

// Result is the outcome of a run.
type Result struct {
	Seed       uint64
	Hash       uint64 // of everything that was sent, in order
	Violations []string
	Virtual    time.Duration
	Settled    time.Duration // how long the quiet phase took to converge
	Writes     int
	Crashes    int
	Cuts       int
}

// Run plays one seed.
func Run(cfg Config) Result { return newWorld(cfg).play(nil) }

func newWorld(cfg Config) *world {
	w := &world{
		cfg: cfg, rng: rand.New(rand.NewPCG(cfg.Seed, 0x51)), now: epoch,
		cuts: map[[2]int]bool{}, views: map[[2]int]bool{}, tries: map[uint64]uint64{},
	}
	if w.cfg.Peers == 0 {
		w.cfg.Peers = 2 + w.rng.IntN(4)
	}
	if w.cfg.Duration == 0 {
		w.cfg.Duration = 10 * time.Second
	}
	w.judge.init(w)
	for i := range w.cfg.Peers {
		p := &peer{name: fmt.Sprintf("n%d", i+1)}
		if w.rng.IntN(3) == 0 {
			p.skew = time.Duration(w.rng.IntN(20_000)-10_000) * time.Millisecond
		}
		w.peers = append(w.peers, p)
	}
	if w.rng.IntN(2) == 0 {
		w.loss = w.rng.Float64() * 0.4
	}
	if w.rng.IntN(2) == 0 {
		w.double = w.rng.Float64() * 0.3
	}
	if w.rng.IntN(3) == 0 {
		w.late = time.Duration(w.rng.IntN(5000)) * time.Millisecond
	}
	return w
}

// play runs both phases. before, if set, is called when all is quiet, before the
// judgement: the tests of the oracles break something there.
func (w *world) play(before func(*world)) Result {
	res := Result{Seed: w.cfg.Seed}
	for i := range w.peers {
		w.start(i)
	}
	end := epoch.Add(w.cfg.Duration)
	w.scheduleWrites(end, &res)
	w.scheduleFaults(end, &res)
	w.run(end)

	w.calm = true
	w.loss, w.double, w.late = 0, 0, 0
	clear(w.cuts)
	clear(w.views)
	for i, p := range w.peers {
		if !p.up {
			w.start(i)
		}
	}
	for i := range w.peers {
		w.show(i)
	}
	for until := end.Add(Settle); w.now.Before(until) && !w.judge.converged(); {
		w.run(w.now.Add(100 * time.Millisecond))
	}
	res.Settled = w.now.Sub(end)
	if before != nil {
		before(w)
	}
	w.judge.final()
	res.Violations = w.judge.violations
	res.Virtual = w.now.Sub(epoch)
	res.Hash = w.hash
	return res
}

// scheduleFaults spreads cuts, lies and crashes over the hostile phase.
func (w *world) scheduleFaults(end time.Time, res *Result) {
	span := end.Sub(epoch)
	moment := func() time.Time { return epoch.Add(time.Duration(w.rng.Int64N(int64(span)))) }
	for range w.rng.IntN(4) {
		res.Cuts++
		i, j, oneWay := w.rng.IntN(len(w.peers)), w.rng.IntN(len(w.peers)), w.rng.IntN(4) == 0
		from, lasts := moment(), time.Duration(w.rng.IntN(5000))*time.Millisecond
		set := func(cut bool) {
			if w.calm || i == j {
				return
			}
			w.cuts[[2]int{i, j}] = cut
			if !oneWay {
				w.cuts[[2]int{j, i}] = cut
			}
		}
		w.at(from, func() { set(true) })
		w.at(from.Add(lasts), func() { set(false) })
	}
	for range w.rng.IntN(3) {
		i, j := w.rng.IntN(len(w.peers)), w.rng.IntN(len(w.peers))
		from, lasts := moment(), time.Duration(w.rng.IntN(5000))*time.Millisecond
		set := func(dead bool) {
			if !w.calm {
				w.views[[2]int{i, j}] = dead
				w.show(i)
			}
		}
		w.at(from, func() { set(true) })
		w.at(from.Add(lasts), func() { set(false) })
	}
	for range w.rng.IntN(3) {
		res.Crashes++
		i := w.rng.IntN(len(w.peers))
		from, down := moment(), time.Duration(w.rng.IntN(3000))*time.Millisecond
		w.at(from, func() {
			if p := w.peers[i]; p.up && !w.calm {
				p.up = false
				w.judge.died(p)
				for j := range w.peers {
					w.show(j)
				}
			}
		})
		w.at(from.Add(down), func() {
			if !w.peers[i].up && !w.calm {
				w.start(i)
			}
		})
	}
}

// scheduleWrites makes a workload that hurts: few keys, few values, bursts within
// one millisecond, every type, deletes and re-adds.
func (w *world) scheduleWrites(end time.Time, res *Result) {
	n := 20 + w.rng.IntN(150)
	moment := epoch
	for i := range n {
		if w.rng.IntN(3) == 0 {
			moment = epoch.Add(time.Duration(w.rng.Int64N(int64(end.Sub(epoch)))))
		}
		who, op := w.rng.IntN(len(w.peers)), w.op(i)
		w.at(moment, func() {
			p := w.peers[who]
			if !p.up || w.calm {
				return
			}
			res.Writes++
			w.judge.write(p, op)
			w.carry(who)
		})
	}
}

// op draws the i-th operation.
func (w *world) op(i int) crdt.Op {
	val := func(v any) crdt.Value {
		x, err := crdt.ValueOf(v)
		if err != nil {
			panic(err) // the workload's values are all good
		}
		return x
	}
	small := func() crdt.Value { return val(w.rng.IntN(3)) }
	key := fmt.Sprintf("k%d", w.rng.IntN(3))
	field := string(rune('a' + w.rng.IntN(3)))
	switch w.rng.IntN(15) {
	case 0, 1:
		return crdt.Op{Verb: crdt.Put, Key: "reg/" + key, Value: small()}
	case 2:
		return crdt.Op{Verb: crdt.Delete, Key: "reg/" + key}
	case 3, 4:
		return crdt.Op{Verb: crdt.Add, Key: "set/" + key, Values: []crdt.Value{small(), small()}}
	case 5:
		return crdt.Op{Verb: crdt.Remove, Key: "set/" + key, Values: []crdt.Value{small()}}
	case 6:
		return crdt.Op{Verb: crdt.Increment, Key: "count/" + key, Delta: int64(w.rng.IntN(7) - 3)}
	case 7:
		return crdt.Op{Verb: crdt.Bump, Key: "max/" + key, Value: small()}
	case 8:
		return crdt.Op{Verb: crdt.Patch, Key: "obj/" + key, Value: val(map[string]any{field: w.rng.IntN(3), "n": map[string]any{field: []any{w.rng.IntN(3)}}})}
	case 9:
		return crdt.Op{Verb: crdt.Put, Key: "obj/" + key, Kind: crdt.Object, Value: val(map[string]any{field: w.rng.IntN(3)})}
	case 10:
		return crdt.Op{Verb: crdt.Delete, Key: "obj/" + key}
	case 11:
		return crdt.Op{Verb: crdt.Put, Key: "any/" + key, Kind: []crdt.Kind{crdt.Register, crdt.Custom, crdt.Max}[w.rng.IntN(3)], Value: small()}
	case 12:
		return crdt.Op{Verb: crdt.Add, Key: "any/" + key, Values: []crdt.Value{small()}}
	case 13:
		return crdt.Op{Verb: crdt.Put, Key: fmt.Sprintf("once/%d", i), Value: val(i)}
	}
	return crdt.Op{Verb: crdt.Delete, Key: fmt.Sprintf("once/%d", w.rng.IntN(i+1))}
}
