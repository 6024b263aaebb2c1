package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/agent/fleet"
	"github.com/sentinel-peer/sentinel-peer/gossip/transport/memnet"
	"github.com/sentinel-peer/sentinel-peer/internal/keyspace"
)

// several runs peers n1 to n<count> on an in-memory network, in virtual time.
func several(t *testing.T, count int, f func(t *testing.T, n *memnet.Network, peers []*agent.Agent)) {
	tuned(t, count, agent.LockConfig{}, f)
}

// voting is several, with the first three peers as voters.
func voting(t *testing.T, count int, f func(t *testing.T, n *memnet.Network, peers []*agent.Agent)) {
	tuned(t, count, agent.LockConfig{Voters: []string{"n1", "n2", "n3"}, FirstBoot: true}, f)
}

func tuned(t *testing.T, count int, locks agent.LockConfig, f func(t *testing.T, n *memnet.Network, peers []*agent.Agent)) {
	synctest.Test(t, func(t *testing.T) {
		t.Cleanup(func() { time.Sleep(time.Minute) }) // runs last, for memberlist's last timers
		n := memnet.New(5)
		var peers []*agent.Agent
		for i := range count {
			l, err := n.Listen(address(i))
			if err != nil {
				t.Fatal(err)
			}
			a, err := agent.Open(t.Context(), agent.Config{Name: fmt.Sprintf("n%d", i+1), Cluster: "test", Bind: address(i), Network: l,
				Seeds: []string{address(0)}, Keys: [][]byte{make([]byte, 32)}, BatchInterval: agent.AtOnce, Locks: locks})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { a.Close(t.Context()) })
			peers = append(peers, a)
		}
		time.Sleep(10 * time.Second)
		f(t, n, peers)
	})
}

func address(i int) string { return fmt.Sprintf("10.0.0.%d:7946", i+1) }

// call runs an operation as a surface does.
func call[T any](t *testing.T, a *agent.Agent, name string, r Request) (body T, err error) {
	t.Helper()
	op := Find(name)
	if op == nil {
		t.Fatalf("no operation %q", name)
	}
	if r.Query == nil {
		r.Query = url.Values{}
	}
	res, err := op.Do(t.Context(), a, r)
	if err != nil || res.Body == nil {
		return body, err
	}
	raw, err := json.Marshal(res.Body)
	if err == nil {
		err = json.Unmarshal(raw, &body)
	}
	return body, err
}

func TestTheTableIsSound(t *testing.T) {
	names, routes := map[string]bool{}, map[string]bool{}
	for _, op := range Operations {
		route := op.Method + " " + op.Path
		if names[op.Name] || routes[route] {
			t.Errorf("%s %s is there twice", op.Name, route)
		}
		names[op.Name], routes[route] = true, true
		if !regexp.MustCompile(`^[a-z]+(_[a-z]+)*$`).MatchString(op.Name) || op.Summary == "" || !strings.HasPrefix(op.Path, "/v1/") {
			t.Errorf("%+v is no good name, path or summary", op)
		}
		if op.Streams() && op.Name != "watch" {
			t.Errorf("%s does nothing", op.Name)
		}
	}
}

func TestAPageIsBoundInBytes(t *testing.T) {
	several(t, 1, func(t *testing.T, _ *memnet.Network, peers []*agent.Agent) {
		a := peers[0]
		big := strings.Repeat("v", 900<<10)
		for i := range 12 {
			if err := errors.Join(
				a.Put(t.Context(), fmt.Sprintf("k/%02d", i), big),
				a.Tasks().SetState(t.Context(), fmt.Sprintf("%02d", i), map[string]any{"log": big}),
			); err != nil {
				t.Fatal(err)
			}
		}
		// read returns the sizes of the pages, and fails unless they hold all in order.
		read := func(name string, query url.Values) (sizes []int) {
			t.Helper()
			var seen []string
			for {
				page, err := call[List[struct{ Key, ID string }]](t, a, name, Request{Query: query})
				if err != nil {
					t.Fatal(err)
				}
				for _, k := range page.Items {
					seen = append(seen, strings.TrimPrefix(k.Key, "k/")+k.ID)
				}
				sizes = append(sizes, len(page.Items))
				if page.Next == "" || len(sizes) > 20 {
					break
				}
				query.Set("after", page.Next)
			}
			if !slices.IsSorted(seen) || len(slices.Compact(seen)) != 12 {
				t.Errorf("%s: the pages hold %v", name, seen)
			}
			return sizes
		}
		if got := read("kv_list", url.Values{"match": {"k/*"}, "values": {"true"}}); !slices.Equal(got, []int{5, 5, 2}) {
			t.Errorf("pages of %v keys with their values", got)
		}
		if got := read("kv_list", url.Values{"match": {"k/*"}}); !slices.Equal(got, []int{12}) {
			t.Errorf("pages of %v keys", got)
		}
		if got := read("task_list", url.Values{}); !slices.Equal(got, []int{5, 5, 2}) {
			t.Errorf("pages of %v tasks", got)
		}
	})
}

func TestALostWriteIsShownWithBothSides(t *testing.T) {
	several(t, 2, func(t *testing.T, n *memnet.Network, peers []*agent.Agent) {
		n.Split([]string{address(0)}, []string{address(1)})
		big := strings.Repeat("v", 900<<10)
		for i, p := range peers {
			if err := p.Put(t.Context(), "k", fmt.Sprint("of n", i+1)); err != nil {
				t.Fatal(err)
			}
			for j := range 5 {
				if err := p.Put(t.Context(), fmt.Sprintf("big/%d", j), big+p.Name()); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(time.Second)
		}
		n.Heal()
		time.Sleep(time.Minute)
		list, err := call[List[Conflict]](t, peers[0], "conflicts", Request{Query: url.Values{"match": {"k"}}})
		if err != nil || *list.Count != 1 {
			t.Fatalf("conflicts %v, %v", list, err)
		}
		c := list.Items[0]
		if c.Key != "k" || c.Winner.Writer != "n2" || c.Winner.Value.String() != `"of n2"` || c.Loser.Writer != "n1" || c.Loser.Value.String() != `"of n1"` || c.Rule == "" || !c.Winner.At.After(c.Loser.At) {
			t.Errorf("%+v", c)
		}
		list, err = call[List[Conflict]](t, peers[0], "conflicts", Request{Query: url.Values{"match": {"big/*"}}})
		if err != nil || len(list.Items) != 3 || *list.Count != 5 { // each entry has two values of 900 KiB
			t.Errorf("%d of %d conflicts, %v: want as many as fit a page", len(list.Items), *list.Count, err)
		}
	})
}

// The answer to a write has the new version, for later conditions, and the key's value where that
// is not the value that was sent.
func TestAWriteShowsWhatItMade(t *testing.T) {
	several(t, 1, func(t *testing.T, _ *memnet.Network, peers []*agent.Agent) {
		a := peers[0]
		for _, c := range []struct {
			name, key, body, value string
			created, gone          bool
		}{
			{name: "kv_put", key: "k", body: `1`, created: true},
			{name: "kv_put", key: "k", body: `2`},
			{name: "kv_delete", key: "k", gone: true},
			{name: "kv_patch", key: "o", body: `{"a":1}`, value: `{"a":1}`, created: true},
			{name: "kv_patch", key: "o", body: `{"b":2}`, value: `{"a":1,"b":2}`},
			{name: "set_update", key: "s", body: `{"add":[2,1]}`, value: `[1,2]`, created: true},
			{name: "set_update", key: "s", body: `{"remove":[1,2]}`, gone: true},
			{name: "counter_add", key: "c", body: `{"add":3}`, value: `3`, created: true},
			{name: "counter_add", key: "c", body: `{"add":-5}`, value: `-2`},
			{name: "task_set_state", key: fleet.TaskStateKey("x"), body: `{"status":"s"}`, value: `{"status":"s"}`, created: true},
			{name: "metrics_set", key: keyspace.Metrics, body: `{"m":1}`},
		} {
			got, err := call[Written](t, a, c.name, Request{Key: c.key, ID: "x", Body: []byte(c.body)})
			e, _ := a.Entry(c.key)
			if err != nil || got.Key != c.key || got.Created != c.created || c.gone != (got.Version == "") || !c.gone && got.Version != e.Version().String() {
				t.Errorf("%s %s: %+v, %v, and the version is %v", c.name, c.body, got, err, e.Version())
			}
			if value := got.Value; (value == nil) != (c.value == "") || value != nil && value.String() != c.value {
				t.Errorf("%s %s: shows %v, want %q", c.name, c.body, value, c.value)
			}
		}
	})
}

// Every list is a List, and counts all its entries whatever a page holds; except the list of locks,
// whose number no peer knows.
func TestEveryListHasOneShape(t *testing.T) {
	for _, op := range Operations {
		if op.gives != nil && reflect.TypeOf(op.gives).Kind() == reflect.Slice {
			t.Errorf("%s gives a bare array", op.Name)
		}
	}
	if empty, err := json.Marshal(whole[int](nil)); err != nil || string(empty) != `{"items":[],"count":0}` {
		t.Errorf("a list of nothing is %s, %v", empty, err)
	}
	several(t, 1, func(t *testing.T, _ *memnet.Network, peers []*agent.Agent) {
		a, leases := peers[0], NewLeases()
		for i := range 3 {
			id := string(rune('a' + i))
			if err := errors.Join(a.Tasks().SetState(t.Context(), id, map[string]any{"s": 1}), a.Workers().SetCapacity(t.Context(), id, 1),
				a.Agents().SetCoordination(t.Context(), "task", id, map[string]any{"s": 1})); err != nil {
				t.Fatal(err)
			}
			for _, r := range []struct{ name, body string }{{"lock_acquire", `{}`}, {"work_enqueue", `{"value":1}`}} {
				if _, err := call[any](t, a, r.name, Request{Key: id, Queue: id, Body: []byte(r.body), Leases: leases}); err != nil {
					t.Fatal(err)
				}
			}
		}
		for name, total := range map[string]int{"kv_list": 12, "task_list": 3, "worker_list": 4, "agent_list": 3, "work_queues": 3} {
			seen, query := 0, url.Values{"limit": {"2"}, "count": {"true"}}
			for {
				l, err := call[List[any]](t, a, name, Request{ID: "task", Query: query, Leases: leases})
				if err != nil || l.Count != nil && *l.Count != total || len(l.Items) == 0 || len(l.Items) > 2 {
					t.Fatalf("%s: %+v, %v; want %d", name, l, err, total)
				}
				if seen += len(l.Items); l.Next == "" {
					break
				}
				query.Set("after", l.Next)
			}
			if seen != total {
				t.Errorf("%s: the pages hold %d of %d", name, seen, total)
			}
		}
		first, err := call[LockList](t, a, "lock_list", Request{Query: url.Values{"limit": {"2"}}, Leases: leases})
		if err != nil || len(first.Items) != 2 || first.Next != "b" {
			t.Errorf("%+v, %v", first, err)
		}
		rest, err := call[LockList](t, a, "lock_list", Request{Query: url.Values{"after": {first.Next}}, Leases: leases})
		if err != nil || len(rest.Items) != 1 || rest.Items[0].Lock != "c" || rest.Next != "" {
			t.Errorf("%+v, %v", rest, err)
		}
	})
}

func TestADurationIsDecimalSeconds(t *testing.T) {
	for d, want := range map[time.Duration]string{0: "0s", 90 * time.Minute: "5400s", -1500 * time.Microsecond: "-0.0015s", 4700*time.Millisecond + 1: "4.7s"} {
		text, err := Duration(d).MarshalText()
		if string(text) != want || err != nil {
			t.Errorf("%v is %s, %v", d, text, err)
		}
		var back Duration
		if err := back.UnmarshalText(text); err != nil || back != Duration(d.Round(time.Microsecond)) {
			t.Errorf("%s is read as %v, %v", text, back, err)
		}
	}
}

// Wrong input is a *BadRequest, for every operation that has such input.
func TestBadInputIsABadRequest(t *testing.T) {
	several(t, 1, func(t *testing.T, _ *memnet.Network, peers []*agent.Agent) {
		f := func(name, query, body string) {
			t.Helper()
			q, err := url.ParseQuery(query)
			if err != nil {
				t.Fatal(err)
			}
			_, err = call[any](t, peers[0], name, Request{Key: "k", ID: "x", Query: q, Body: []byte(body)})
			if bad := (*BadRequest)(nil); !errors.As(err, &bad) || bad.Reason == "" {
				t.Errorf("%s ?%s %s: %v", name, query, body, err)
			}
		}
		f("kv_put", "ttl=0s", "1")
		f("kv_put", "replicas=-1", "1")
		f("kv_put", "type=blob", "1")
		f("kv_list", "limit=1001", "")
		f("kv_list", "match=["+"z", "")
		f("task_list", "limit=-1", "")
		f("conflicts", "limit=many", "")
		f("worker_list", "free=-1", "")
		f("worker_list", "state=asleep", "")
		f("worker_heartbeat", "", `{"ttl":"soon"}`)
		f("worker_heartbeat", "", `{"ttl":"10s"} {}`)
		f("assignments_set", "", `{"w1":"t1"}`)
		f("queue_set", "", `{"waiting":[]}`)
		f("forget", "", `{"name":"n2","all":true}`)
		f("forget", "", `{}`)
	})
}

// Names in JSON are snake_case throughout.
func TestEveryNameIsSnakeCase(t *testing.T) {
	good := regexp.MustCompile(`^[a-z]+(_[a-z]+)*$`)
	seen := 0
	var check func(reflect.Type, string)
	check = func(v reflect.Type, path string) {
		switch v.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Map:
			check(v.Elem(), path)
		case reflect.Struct:
			if _, own := v.MethodByName("MarshalJSON"); own {
				return
			}
			for f := range v.Fields() {
				name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
				if f.Anonymous {
					check(f.Type, path)
				} else if seen++; f.IsExported() && name != "-" && !good.MatchString(name) {
					t.Errorf("%s.%s is %q", path, f.Name, name)
				} else {
					check(f.Type, path+"."+f.Name)
				}
			}
		}
	}
	for _, v := range []any{Stats{}, Member{}, List[Key]{}, Digest{}, Conflict{}, Task{}, Worker{}, Queue{}, Written{}, WorkQueue{}} {
		check(reflect.TypeOf(v), reflect.TypeOf(v).Name())
	}
	if seen < 80 {
		t.Errorf("only %d names found", seen)
	}
}
