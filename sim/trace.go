package sim

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sentinel-peer/sentinel-peer/gossip"
	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// Kind is the kind of a moment.
type Kind string

// The kinds of moments.
const (
	Cut       Kind = "cut"
	Healed    Kind = "healed"
	Killed    Kind = "killed"
	Started   Kind = "started"
	Paused    Kind = "paused"
	Resumed   Kind = "resumed"
	Torn      Kind = "torn"
	Suspected Kind = "suspected"
	Replayed  Kind = "replayed"
	Rotated   Kind = "rotated"
	Diverged  Kind = "diverged"
	Agreed    Kind = "agreed"
	Granted   Kind = "granted"
	Released  Kind = "released"
	Lost      Kind = "lost"
	Revised   Kind = "revised" // the list of voters changed
	Violated  Kind = "violated"
)

// Moment is one entry of a run's timeline.
type Moment struct {
	At   time.Duration // since the beginning of the run
	Kind Kind
	Peer int // from 1 on; 0: the moment concerns all peers
	Text string
}

func (m Moment) String() string {
	who := ""
	if m.Peer > 0 {
		who = fmt.Sprintf("n%d ", m.Peer)
	}
	return fmt.Sprintf("%10v  %s%s", m.At.Round(time.Millisecond), who, m.Text)
}

// Sample is the state of a run at one time.
type Sample struct {
	At     time.Duration
	States []int  // by peer: peers with equal numbers agree; 0 is a peer that is down
	Bytes  uint64 // bytes that all peers have sent so far
}

// Groups returns the number of different states.
func (s Sample) Groups() int {
	n := 0
	for _, g := range s.States {
		n = max(n, g)
	}
	return n
}

const sampleEvery = 50 * time.Millisecond

// Timeline returns the moments of a run in the order of time. It adds the moments when the
// peers began to differ and when they agreed again, if they differed for worthTelling.
func Timeline(r Result) []Moment {
	list := slices.Clone(r.Moments)
	groups, since := 1, time.Duration(0)
	for _, s := range r.Samples {
		now := max(s.Groups(), 1)
		switch {
		case groups == 1 && now > 1:
			since = s.At
		case groups > 1 && now == 1 && s.At-since >= worthTelling:
			list = append(list, Moment{since, Diverged, 0, "peers differ"}, Moment{s.At, Agreed, 0, fmt.Sprintf("all that are up agree again, after %v", (s.At - since).Round(time.Millisecond))})
		}
		groups = now
	}
	slices.SortStableFunc(list, func(a, b Moment) int { return cmp.Compare(a.At, b.At) })
	return list
}

// worthTelling is the least time of a difference that a timeline mentions.
const worthTelling = time.Second

// sample takes samples of the run at regular times. The interval grows with the length of
// the run, so that there are at most about 2,000.
func (c *Cluster) sample(until time.Duration) {
	c.takeSample()
	every := max(sampleEvery, until/2000)
	c.agenda.add(c.now+every, func() { c.sample(until) })
}

// takeSample takes one sample.
func (c *Cluster) takeSample() {
	s := Sample{At: c.now, States: make([]int, len(c.peers)), Bytes: c.Bytes()}
	var firsts []*Peer
	for i, p := range c.peers {
		if !p.up {
			continue
		}
		for g, first := range firsts {
			if agree(p, first) {
				s.States[i] = g + 1
			}
		}
		if s.States[i] == 0 {
			firsts = append(firsts, p)
			s.States[i] = len(firsts)
		}
	}
	c.samples = append(c.samples, s)
}

// note records a moment. The peer is an index, and does not count for kinds that concern
// all peers.
func (c *Cluster) note(kind Kind, peer int, format string, args ...any) {
	if !c.watch && c.tracer == nil {
		return
	}
	m := Moment{c.now, kind, 0, fmt.Sprintf(format, args...)}
	if kind != Cut && kind != Healed && kind != Agreed && kind != Diverged && kind != Revised && kind != Replayed {
		m.Peer = peer + 1
	}
	if c.watch {
		c.moments = append(c.moments, m)
	}
	c.trace("%s", strings.TrimSpace(strings.TrimPrefix(m.String(), fmt.Sprintf("%10v", m.At.Round(time.Millisecond)))))
}

// trace passes a line to Options.Trace.
func (c *Cluster) trace(format string, args ...any) {
	if c.tracer != nil {
		c.tracer(fmt.Sprintf("%10v  ", c.now.Round(time.Microsecond)) + fmt.Sprintf(format, args...))
	}
}

// describe returns the names of a frame's sections, each with its number of fields.
func describe(frame []byte) string {
	r := wire.NewReader(frame)
	r.ArrayLen()
	version, flags, _ := r.Uint(), r.Uint(), r.Uint()
	if r.Err() != nil || version != gossip.Version {
		return "of another version"
	}
	if flags != 0 {
		return "compressed"
	}
	var names []string
	for range r.ArrayLen() {
		section := r.Raw()
		s := wire.NewReader(section)
		n := s.ArrayLen()
		kind := s.Uint()
		if r.Err() != nil || s.Err() != nil {
			return "malformed"
		}
		if name := gossip.SectionName(kind); name != "" {
			names = append(names, fmt.Sprintf("%s(%d)", name, n-1))
		}
	}
	return strings.Join(names, " ")
}
