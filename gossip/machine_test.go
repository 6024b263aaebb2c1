package gossip

import (
	"fmt"
	"testing"
	"time"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

var (
	t0   = time.UnixMilli(1_700_000_000_000)
	ann  = clock.Actor{Birth: 0x0102030405, Rand: 0xa1}
	bob  = clock.Actor{Birth: 0x0102030406, Rand: 0xb2}
	both = []Peer{{Actor: ann, Name: "ann", Alive: true}, {Actor: bob, Name: "bob", Alive: true}}
)

// machine is an engine with its store and the clock that stamps its writes.
type machine struct {
	*Engine
	store *crdt.Store
	hlc   clock.HLC
}

func newMachine(self clock.Actor, tune func(*Config)) *machine {
	cfg := Config{Self: self, Cluster: "golden", BatchInterval: AtOnce, Seed: 1}
	if tune != nil {
		tune(&cfg)
	}
	store := crdt.New(crdt.Config{Actor: self})
	m := &machine{Engine: New(cfg, store), store: store}
	m.SetView(t0, both)
	m.trust()
	m.Tick(t0)
	m.Envelopes()
	return m
}

// trust makes packets to all peers count as passing, as if a probe had just been answered.
func (m *machine) trust() {
	for _, p := range m.peers {
		p.path.to, p.path.answeredAt = Passes, t0
	}
}

func value(t testing.TB, v any) crdt.Value {
	t.Helper()
	x, err := crdt.ValueOf(v)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// write applies and pushes local writes, and returns the frames that leave at once.
func (m *machine) write(t testing.TB, now time.Time, ops ...crdt.Op) []Envelope {
	t.Helper()
	ds, err := m.store.Apply(m.hlc.Now(now), uint64(now.UnixMilli()), ops...)
	if err != nil {
		t.Fatal(err)
	}
	m.Push(now, ds, false)
	m.Flush(now)
	return m.Envelopes()
}

func put(t testing.TB, key string, v any) crdt.Op {
	return crdt.Op{Verb: crdt.Put, Key: key, Value: value(t, v)}
}

// cluster returns n machines that have each other in their views, and that send no digests for an hour.
func cluster(n int) []*machine {
	var peers []Peer
	for i := range n {
		peers = append(peers, Peer{Actor: clock.Actor{Birth: 1, Rand: uint64(i + 1)}, Name: fmt.Sprint("n", i), Alive: true})
	}
	var list []*machine
	for _, p := range peers {
		m := newMachine(p.Actor, func(c *Config) { c.DigestInterval, c.DigestMax = time.Hour, time.Hour })
		m.SetView(t0, peers)
		m.trust()
		m.Tick(t0)
		m.Envelopes()
		list = append(list, m)
	}
	return list
}

// takes has m receive a frame, and returns the frames that m sends in return.
func (m *machine) takes(t *testing.T, now time.Time, frame []byte) []Envelope {
	t.Helper()
	if err := m.Receive(now, frame); err != nil {
		t.Fatal(err)
	}
	return m.Envelopes()
}

// exchange runs the given machines for a time, in steps of a millisecond. Frames to other machines are lost.
func exchange(t testing.TB, now *time.Time, d time.Duration, up ...*machine) {
	t.Helper()
	for end := now.Add(d); now.Before(end); *now = now.Add(time.Millisecond) {
		for _, m := range up {
			if due(m.Deadline(), *now) {
				m.Tick(*now)
			}
			for _, sent := range m.Envelopes() {
				for _, to := range up {
					if to.cfg.Self != sent.To {
						continue
					}
					if err := to.Receive(*now, sent.Frame); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
	}
}

// meets sets the view of m: the peers in list are up, those in down are not, and all count the same members.
func (m *machine) meets(now time.Time, list, down []*machine) {
	var view []Peer
	for _, o := range list {
		view = append(view, Peer{Actor: o.cfg.Self, Name: fmt.Sprint("n", o.cfg.Self.Rand), Alive: true})
	}
	for _, o := range down {
		view = append(view, Peer{Actor: o.cfg.Self, Name: fmt.Sprint("n", o.cfg.Self.Rand)})
	}
	m.SetView(now, view)
	m.trust()
	for _, p := range m.peers {
		p.membersHash = m.membersHash
	}
}

// has reports whether a key is present.
func (m *machine) has(key string) bool {
	_, ok := m.store.Render(key, 0)
	return ok
}

func frames(list []Envelope) (all [][]byte) {
	for _, e := range list {
		all = append(all, e.Frame)
	}
	return all
}

// pick returns the first frame that has a section of the kind.
func pick(t testing.TB, out []Envelope, kind uint64) []byte {
	t.Helper()
	for _, e := range out {
		for _, k := range kinds(e.Frame) {
			if k == kind {
				return e.Frame
			}
		}
	}
	t.Fatalf("no frame with section %d among %d", kind, len(out))
	return nil
}

// kinds lists the kinds of the sections of a frame, none if the frame is compressed.
func kinds(frame []byte) []uint64 {
	r := wire.NewReader(frame)
	r.ArrayLen()
	r.Skip()
	if r.Uint() != 0 {
		return nil
	}
	r.Skip()
	var list []uint64
	for range r.ArrayLen() {
		raw := r.Raw()
		sec := wire.NewReader(raw)
		sec.ArrayLen()
		list = append(list, sec.Uint())
	}
	return list
}
