package api

import (
	"context"
	"iter"
	"slices"
	"strings"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/agent/workqueue"
	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/internal/queue"
)

// maxLooked is the number of items that one page of them looks at.
const maxLooked = 10_000

// listItems returns a page of the items of a queue that are in a state, by id. It looks at items in
// any state from the start of the page on, and ends the page after maxLooked of them.
func listItems(ctx context.Context, a *agent.Agent, r Request) (Response, error) {
	q, state := a.WorkQueue(r.Queue), r.Query.Get("state")
	depth, err := q.Depth()
	if err != nil {
		return Response{}, err
	}
	i := slices.Index(itemStates, state)
	if i < 0 {
		return Response{}, bad("state %q: want %s", state, strings.Join(itemStates, ", "))
	}
	p, err := newPage[workqueue.Item](r)
	if err != nil {
		return Response{}, err
	}
	walk := itemWalk{ctx: ctx, a: a}
	looked, before := 0, ""
	for id := range walk.ids(r.Queue, r.Query.Get("after")) {
		if looked++; looked > maxLooked {
			p.list.Next = before
			break
		}
		before = id
		item, err := q.Get(id)
		if err != nil || state != "all" && string(item.State) != state {
			continue
		}
		if !p.add(id, item, len(item.Value.Raw())+len(item.Result.Raw())) {
			break
		}
	}
	all := depth.Pending + depth.Delayed + depth.Claimed + depth.Done + depth.Dead
	p.list.Count = &[]int{all, depth.Pending, depth.Delayed, depth.Claimed, depth.Done, depth.Dead}[i]
	return Response{Body: p.list}, walk.err
}

// itemWalk walks through the ids of a queue's items. err is why it ended early, nil if it did not.
type itemWalk struct {
	ctx context.Context
	a   *agent.Agent
	err error
}

// ids yields the ids after one in the order of their bytes. Some of them may be of no item. An item
// that is done may have nothing but claims.
func (w *itemWalk) ids(name, after string) iter.Seq[string] {
	return func(yield func(string) bool) {
		items, claims := queue.Prefixes(name)
		claimed, stop := iter.Pull(w.below(claims, after))
		defer stop()
		claim, more := claimed()
		for id := range w.below(items, after) {
			for more && claim < id {
				if !yield(claim) {
					return
				}
				claim, more = claimed()
			}
			if more && claim == id {
				claim, more = claimed()
			}
			if !yield(id) {
				return
			}
		}
		for ; more; claim, more = claimed() {
			if !yield(claim) {
				return
			}
		}
	}
}

// below yields the ids after one that keys have behind a prefix. Keys come in the order of id and
// slash, in which a-b comes before a, so each id is yielded after its beginnings, which may be ids.
func (w *itemWalk) below(prefix, after string) iter.Seq[string] {
	return func(yield func(string) bool) {
		last := after
		err := w.a.Walk(w.ctx, crdt.Literal(prefix)+"**", prefix+after, nil, func(key string, _ crdt.Entry) bool {
			id, _, _ := strings.Cut(key[len(prefix):], "/")
			for n := 1; n <= len(id); n++ {
				if (n == len(id) || id[n] < '/') && id[:n] > last {
					if last = id[:n]; !yield(last) {
						return false
					}
				}
			}
			return true
		})
		if err != nil {
			w.err = err
		}
	}
}
