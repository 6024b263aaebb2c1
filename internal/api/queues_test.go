package api

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/agent/workqueue"
	"github.com/sentinel-peer/sentinel-peer/gossip/transport/memnet"
)

// The clients of one daemon can have the same lease; the token tells their claims apart.
func TestALateClientDoesNotFinishTheNextOnesClaim(t *testing.T) {
	several(t, 1, func(t *testing.T, _ *memnet.Network, peers []*agent.Agent) {
		if _, err := call[Enqueued](t, peers[0], "work_enqueue", Request{Queue: "q", Body: []byte(`{"value":1,"id":"a"}`)}); err != nil {
			t.Fatal(err)
		}
		claim := func() (verdict Request) {
			t.Helper()
			got, err := call[List[Claimed]](t, peers[0], "work_claim", Request{Queue: "q", Body: []byte(`{"ttl":"500ms","wait":"1m"}`)})
			if err != nil || len(got.Items) != 1 {
				t.Fatalf("claimed %v, %v", got.Items, err)
			}
			return Request{Queue: "q", ID: "a", Body: fmt.Appendf(nil, `{"lease":%q,"token":%d}`, got.Items[0].Lease, got.Items[0].Token)}
		}
		late := claim()
		time.Sleep(time.Second)
		held := claim()
		for _, name := range []string{"work_complete", "work_fail", "work_extend"} {
			if _, err := Find(name).Do(t.Context(), peers[0], late); !errors.Is(err, workqueue.ErrClaimLost) {
				t.Errorf("%s of a claim that ran out: %v", name, err)
			}
		}
		if _, err := call[any](t, peers[0], "work_complete", held); err != nil {
			t.Error(err)
		}
	})
}

// A user who wants to retry dead items can list them.
func TestItemsAreListedByState(t *testing.T) {
	several(t, 1, func(t *testing.T, _ *memnet.Network, peers []*agent.Agent) {
		enqueue := func(queue, id string) {
			t.Helper()
			body := fmt.Appendf(nil, `{"value":1,"id":%q,"max_attempts":1}`, id)
			if _, err := call[Enqueued](t, peers[0], "work_enqueue", Request{Queue: queue, Body: body}); err != nil {
				t.Fatal(err)
			}
		}
		for _, id := range []string{"a", "b", "c"} {
			enqueue("q", id)
			got, err := call[List[Claimed]](t, peers[0], "work_claim", Request{Queue: "q"})
			if err != nil || len(got.Items) != 1 {
				t.Fatalf("claimed %v, %v", got.Items, err)
			}
			if _, err := call[any](t, peers[0], "work_fail", Request{Queue: "q", ID: id, Body: fmt.Appendf(nil, `{"lease":%q,"token":%d,"error":"no such host"}`, got.Items[0].Lease, got.Items[0].Token)}); err != nil {
				t.Fatal(err)
			}
		}
		enqueue("q", "d")
		enqueue("q[1]", "other")
		for _, id := range []string{"x-y", "x", "x-y-z", "xx"} { // the keys of their claims are in another order
			enqueue("ids", id)
		}
		var claims []Claimed
		for range 4 {
			got, err := call[List[Claimed]](t, peers[0], "work_claim", Request{Queue: "ids"})
			if err != nil || len(got.Items) != 1 {
				t.Fatal(got, err)
			}
			claims = append(claims, got.Items...)
		}
		for i, want := range []string{"x x-y", "x-y-z xx", ""} {
			query := url.Values{"state": {"claimed"}, "limit": {"2"}, "after": {[]string{"", "x-y", "xx"}[i]}}
			got, err := call[List[workqueue.Item]](t, peers[0], "work_peek", Request{Queue: "ids", Query: query})
			if err != nil || ids(got.Items) != want || *got.Count != 4 || (got.Next != "") != (i == 0) {
				t.Errorf("page %d of claimed items: %+v, %v; want %s", i, got, err, want)
			}
		}
		for _, c := range claims {
			if _, err := call[any](t, peers[0], "work_complete", Request{Queue: "ids", ID: c.ID, Body: fmt.Appendf(nil, `{"lease":%q,"token":%d}`, c.Lease, c.Token)}); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := call[List[workqueue.Item]](t, peers[0], "work_peek", Request{Queue: "ids", Query: url.Values{"state": {"done"}}}); err != nil || ids(got.Items) != "x x-y x-y-z xx" {
			t.Errorf("items that are done: %+v, %v", got, err)
		}
		show := func(query string) string {
			values, err := url.ParseQuery(query)
			if err != nil {
				t.Fatal(err)
			}
			page, err := call[List[workqueue.Item]](t, peers[0], "work_peek", Request{Queue: "q", Query: values})
			if err != nil {
				return err.Error()
			}
			out := fmt.Sprintf("%d %s:", *page.Count, page.Next)
			for _, i := range page.Items {
				out += " " + i.ID + " " + string(i.State) + " " + i.Error
			}
			return out
		}
		for query, want := range map[string]string{
			"":                           "1 : d pending ",
			"state=dead&limit=2":         "3 b: a dead no such host b dead no such host",
			"state=dead&limit=2&after=b": "3 : c dead no such host",
			"state=all&after=b":          "4 : c dead no such host d pending ",
			"state=done":                 "0 :",
			"state=gone":                 `state "gone": want all, pending, delayed, claimed, done, dead`,
			"after=b":                    "after: it needs a state too",
		} {
			if got := show(query); got != want {
				t.Errorf("?%s: %s; want %s", query, got, want)
			}
		}
	})
}

func ids(items []workqueue.Item) string {
	var list []string
	for _, i := range items {
		list = append(list, i.ID)
	}
	return strings.Join(list, " ")
}

// A page of items costs the same in a queue of 200 items and in one of 5,000.
func TestAPageOfItemsCostsWhatItReturns(t *testing.T) {
	several(t, 1, func(t *testing.T, _ *memnet.Network, peers []*agent.Agent) {
		var costs []float64
		for _, n := range []int{200, 5000} {
			name := fmt.Sprint("q", n)
			q := peers[0].WorkQueue(name)
			for i := range n {
				if _, err := q.Enqueue(t.Context(), i, workqueue.WithID(fmt.Sprintf("%05d", i))); err != nil {
					t.Fatal(err)
				}
			}
			costs = append(costs, testing.AllocsPerRun(10, func() {
				got, err := call[List[workqueue.Item]](t, peers[0], "work_peek", Request{Queue: name, Query: url.Values{"state": {"pending"}, "limit": {"10"}, "after": {"00100"}}})
				if err != nil || len(got.Items) != 10 || got.Items[0].ID != "00101" || got.Next != "00110" {
					t.Fatalf("%+v, %v", got, err)
				}
			}))
		}
		if costs[1] > costs[0]*1.5+50 {
			t.Errorf("a page makes %v allocations among 200 items, %v among 5,000", costs[0], costs[1])
		}
	})
}

// A page of rare items ends after a bounded number of items in other states, with a cursor behind them.
func TestAPageLooksAtSoManyItems(t *testing.T) {
	several(t, 1, func(t *testing.T, _ *memnet.Network, peers []*agent.Agent) {
		q := peers[0].WorkQueue("q")
		for i := range maxLooked + 1 {
			if _, err := q.Enqueue(t.Context(), i, workqueue.WithID(fmt.Sprintf("%05d", i))); err != nil {
				t.Fatal(err)
			}
		}
		for after, want := range map[string]string{"": "09999", "00000": "", "09999": ""} {
			got, err := call[List[workqueue.Item]](t, peers[0], "work_peek", Request{Queue: "q", Query: url.Values{"state": {"dead"}, "after": {after}}})
			if err != nil || len(got.Items) != 0 || got.Next != want {
				t.Errorf("behind %q: %d items, next %q, %v; want next %q", after, len(got.Items), got.Next, err, want)
			}
		}
	})
}
