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
	Count *int   `json:"count,omitempty"` // the length of the whole list, not of the page; absent if counting costs more than the page
	Next  string `json:"next,omitempty"`  // the value of ?after= for the next page; "" on the last
}

// A page holds at most maxPage entries, and ends after the entry with which its values have
// pageBytes bytes or more.
const (
	maxPage   = 1000
	pageBytes = 4 << 20
)

// pager fills a page with the entries of a list, which come in the order of their ids.
type pager[T any] struct {
	list  List[T]
	limit int
	size  int    // bytes of the values on the page
	last  string // id of the last entry
}

func newPage[T any](r Request) (*pager[T], error) {
	limit, err := r.limit()
	return &pager[T]{list: List[T]{Items: []T{}}, limit: limit}, err
}

// full reports whether an entry was left for the next page.
func (p *pager[T]) full() bool { return p.list.Next != "" }

// add puts an entry whose values have so many bytes on the page. It returns false if the page
// has no room for the entry.
func (p *pager[T]) add(id string, entry T, size int) bool {
	if len(p.list.Items) == p.limit || p.size >= pageBytes {
		p.list.Next = p.last
		return false
	}
	p.list.Items, p.size, p.last = append(p.list.Items, entry), p.size+size, id
	return true
}

// page returns the entries of all, which is sorted by id, that come after ?after=. The function
// show makes an entry of the answer, and returns how many bytes its values have and whether it
// still exists.
func page[S, T any](r Request, all []S, id func(S) string, show func(S) (entry T, size int, there bool)) (List[T], error) {
	p, err := newPage[T](r)
	if err != nil {
		return List[T]{}, err
	}
	p.list.Count = new(len(all))
	at, found := slices.BinarySearchFunc(all, r.Query.Get("after"), func(s S, after string) int { return strings.Compare(id(s), after) })
	if found {
		at++
	}
	for _, s := range all[at:] {
		if entry, size, there := show(s); there && !p.add(id(s), entry, size) {
			break
		}
	}
	return p.list, nil
}

// itself shows an entry unchanged.
func itself[T any](entry T) (T, int, bool) { return entry, 0, true }

// whole returns a list as one page.
func whole[T any](items []T) List[T] {
	if items == nil {
		items = []T{}
	}
	return List[T]{Items: items, Count: new(len(items))}
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

// Duration is a duration whose JSON is decimal seconds and the letter s, such as "4.7s". It also
// reads the other units of time.ParseDuration.
type Duration time.Duration

// String returns d as Go writes it: 1m30s.
func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText writes d to the microsecond.
func (d Duration) MarshalText() ([]byte, error) {
	micros := time.Duration(d).Round(time.Microsecond).Microseconds()
	return append(strconv.AppendFloat(nil, float64(micros)/1e6, 'f', -1, 64), 's'), nil
}

// UnmarshalText reads what time.ParseDuration reads.
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	*d = Duration(parsed)
	return err
}

// Written is what a write did to a key.
type Written struct {
	Key     string      `json:"key"`
	Version string      `json:"version,omitempty"` // omitted if nothing is left of the key
	Created bool        `json:"created"`           // the key did not exist before
	Value   *crdt.Value `json:"value,omitempty"`   // the key's value after a write that merges
}

// Deleted is what a delete did to a key.
type Deleted struct {
	Key     string `json:"key"`
	Deleted bool   `json:"deleted"`           // the key existed
	Version string `json:"version,omitempty"` // the version that concurrent writes have left, if any
}

// written returns the answer for a write that made a version of r.Key.
func (r Request) written(made crdt.Version, created bool) Response {
	w := Written{Key: r.Key, Created: created}
	if made != 0 {
		w.Version = made.String()
	}
	return Response{Created: created, Version: made, Body: w}
}

// outcome returns the answer for a write that merges into r.Key, with the version that the key has
// now, and with its value unless that is a large set or object.
func (r Request) outcome(a *agent.Agent, created bool) (Response, error) {
	if v, large := a.Version(r.Key); large {
		return r.written(v, created), nil
	}
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
	ClockOffset Duration `json:"clock_offset"` // of that peer's clock to this peer's
}

// MembersOf returns peers as clients see them.
func MembersOf(list []agent.Member) []Member {
	shown := make([]Member, 0, len(list))
	for _, m := range list {
		shown = append(shown, Member{m, Duration(m.ClockOffset)})
	}
	return shown
}

// Stats is a peer's counters and gauges as clients see them.
type Stats struct {
	agent.Stats
	Transport Transport `json:"transport"`
	Leases    int       `json:"leases"` // the number of lock leases that this daemon holds for its clients
}

// Transport is the counters and gauges of a peer's transport.
type Transport struct {
	transport.Stats
	PartitionAge Duration `json:"partition_age"` // the time since the first of the missing peers went missing
}

// Event is one event of a watch as clients see it.
type Event struct {
	Key     string      `json:"key,omitempty"`
	Type    string      `json:"type,omitempty"`
	Cause   agent.Cause `json:"cause"`
	Value   crdt.Value  `json:"value"`             // null if the key is gone, or the event partial
	Old     crdt.Value  `json:"old"`               // null if the key did not exist before, or the event partial
	Partial bool        `json:"partial,omitempty"` // the change of a large set or object
	Parts   []Part      `json:"parts,omitempty"`   // what changed of it
	Writer  string      `json:"writer,omitempty"`
	Order   string      `json:"order,omitempty"`
	At      time.Time   `json:"at,omitzero"`
}

// Part is one changed part of a set or an object, as the operation that makes it so.
type Part struct {
	Op    string     `json:"op"`
	Path  []string   `json:"path"`
	Value crdt.Value `json:"value"` // null for a delete
}

// PartsOf returns the parts of an event as clients see them.
func PartsOf(e agent.Event) []Part {
	var list []Part
	for _, p := range e.Parts {
		list = append(list, Part{p.Verb.String(), append([]string{}, p.Path...), p.Value})
	}
	return list
}

// EventOf returns an event as clients see it.
func EventOf(e agent.Event) Event {
	shown := Event{Key: e.Key, Cause: e.Cause, Value: e.New, Old: e.Old, Partial: e.Partial, Parts: PartsOf(e), Writer: e.Writer}
	if e.Key != "" {
		shown.Type, shown.Order, shown.At = e.Kind.String(), e.Order.String(), e.Stamp.Time()
	}
	return shown
}

// Worker is a worker, and for how many more tasks it has room.
type Worker struct {
	fleet.Worker
	Expires Duration `json:"expires,omitempty"` // the time until its heartbeat expires
	Free    int      `json:"free"`
}

func workerOf(w fleet.Worker) Worker { return Worker{w, Duration(w.Expires), w.Free()} }

// WorkQueue is a work queue, and what this peer did with it.
type WorkQueue struct {
	Name string `json:"name"`
	workqueue.Stats
}
