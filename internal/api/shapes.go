package api

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/agent/fleet"
	"github.com/sentinel-peer/sentinel-peer/agent/workqueue"
	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/gossip/transport"
)

// List is a list, or a page of one.
type List[T any] struct {
	Items []T    `json:"items"`
	Count int    `json:"count"`          // in the whole list, whatever the page holds
	Next  string `json:"next,omitempty"` // ?after= for the next page; the last has none
}

// A page holds so many entries, and ends after the one that brings its values to so
// many bytes.
const (
	maxPage   = 1000
	pageBytes = 4 << 20
)

// page returns the entries of all, which is sorted by id, behind ?after=. Show makes an
// entry of the answer, says how many bytes its values have, and whether it is still there.
func page[S, T any](r Request, all []S, id func(S) string, show func(S) (entry T, size int, there bool)) (List[T], error) {
	limit, err := r.limit()
	if err != nil {
		return List[T]{}, err
	}
	l := List[T]{Items: []T{}, Count: len(all)}
	at, found := slices.BinarySearchFunc(all, r.Query.Get("after"), func(s S, after string) int { return strings.Compare(id(s), after) })
	if found {
		at++
	}
	size, last := 0, ""
	for _, s := range all[at:] {
		entry, bytes, there := show(s)
		if !there {
			continue
		}
		if len(l.Items) == limit || size >= pageBytes {
			l.Next = last
			break
		}
		l.Items, size, last = append(l.Items, entry), size+bytes, id(s)
	}
	return l, nil
}

// itself shows an entry as it is.
func itself[T any](entry T) (T, int, bool) { return entry, 0, true }

// whole is a list without pages.
func whole[T any](items []T) List[T] {
	if items == nil {
		items = []T{}
	}
	return List[T]{Items: items, Count: len(items)}
}

func (r Request) limit() (int, error) {
	s := r.Query.Get("limit")
	if s == "" {
		return maxPage, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > maxPage {
		return 0, bad("limit %q: want 1 to %d", s, maxPage)
	}
	return n, nil
}

// Duration is one in JSON: decimal seconds and the letter s, "4.7s". It reads other units
// of time.ParseDuration too.
type Duration time.Duration

// String returns d as Go writes it: 1m30s.
func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText writes d to the microsecond.
func (d Duration) MarshalText() ([]byte, error) {
	micros := time.Duration(d).Round(time.Microsecond).Microseconds()
	return append(strconv.AppendFloat(nil, float64(micros)/1e6, 'f', -1, 64), 's'), nil
}

// UnmarshalText reads what time.ParseDuration does.
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	*d = Duration(parsed)
	return err
}

// Written is what a write did to a key.
type Written struct {
	Key     string      `json:"key"`
	Version string      `json:"version,omitempty"` // none if nothing is left
	Created bool        `json:"created"`           // there was nothing before
	Value   *crdt.Value `json:"value,omitempty"`   // what the key holds now, after a write that merges
}

// Deleted is what became of a key that was deleted.
type Deleted struct {
	Key     string `json:"key"`
	Deleted bool   `json:"deleted"`           // there was something
	Version string `json:"version,omitempty"` // of what another wrote meanwhile, if anything is left
}

// written is the answer of a write that made this version of r.Key.
func (r Request) written(made crdt.Version, created bool) Response {
	w := Written{Key: r.Key, Created: created}
	if made != 0 {
		w.Version = made.String()
	}
	return Response{Created: created, Version: made, Body: w}
}

// outcome is the answer of a write to r.Key that merges into what is there: it shows both
// the value and its version as they are now.
func (r Request) outcome(a *agent.Agent, created bool) (Response, error) {
	e, ok := a.Entry(r.Key)
	if !ok {
		return r.written(0, false), nil
	}
	v, err := a.Resolve(r.Key, e)
	if err != nil {
		return Response{}, err
	}
	res := r.written(e.Version(), created)
	w := res.Body.(Written)
	w.Value = &v
	res.Body = w
	return res, nil
}

// Member is a peer as clients see it.
type Member struct {
	agent.Member
	ClockOffset Duration `json:"clock_offset"` // of its clock to this peer's
}

// MembersOf returns peers as clients see them.
func MembersOf(list []agent.Member) []Member {
	shown := make([]Member, 0, len(list))
	for _, m := range list {
		shown = append(shown, Member{m, Duration(m.ClockOffset)})
	}
	return shown
}

// Stats are a peer's counters and gauges as clients see them.
type Stats struct {
	agent.Stats
	Transport Transport `json:"transport"`
	Leases    int       `json:"leases"` // of locks, that this daemon holds for its clients
}

// Transport is what a peer's transport did.
type Transport struct {
	transport.Stats
	PartitionAge Duration `json:"partition_age"` // since the longest missing peer went missing
}

// Event is one event of a watch as clients see it.
type Event struct {
	Key    string      `json:"key,omitempty"`
	Type   string      `json:"type,omitempty"`
	Cause  agent.Cause `json:"cause"`
	Value  crdt.Value  `json:"value"` // null if nothing is left
	Old    crdt.Value  `json:"old"`   // null if nothing was there
	Writer string      `json:"writer,omitempty"`
	Order  string      `json:"order,omitempty"`
	At     time.Time   `json:"at,omitzero"`
}

// EventOf returns an event as clients see it.
func EventOf(e agent.Event) Event {
	shown := Event{Key: e.Key, Cause: e.Cause, Value: e.New, Old: e.Old, Writer: e.Writer}
	if e.Key != "" {
		shown.Type, shown.Order, shown.At = e.Kind.String(), e.Order.String(), e.Stamp.Time()
	}
	return shown
}

// Worker is a worker with how many more tasks it takes.
type Worker struct {
	fleet.Worker
	Expires Duration `json:"expires,omitempty"` // how long its heartbeat is still good
	Free    int      `json:"free"`
}

func workerOf(w fleet.Worker) Worker { return Worker{w, Duration(w.Expires), w.Free()} }

// WorkQueue is a queue of work and what this peer did with it.
type WorkQueue struct {
	Name string `json:"name"`
	workqueue.Stats
}
