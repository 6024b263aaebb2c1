package api

import (
	"encoding/json"
	"fmt"
	"net/url"
	"testing"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/gossip/transport/memnet"
)

// A write to a large set or object renders nothing of it: it makes as many allocations as a write to a
// key of a thirtieth of its size, and its answer has no value.
func TestAWriteToALargeKeyCostsTheSame(t *testing.T) {
	several(t, 1, func(t *testing.T, _ *memnet.Network, peers []*agent.Agent) {
		a := peers[0]
		var costs []float64
		for _, n := range []int{1000, 30_000} {
			set, object := fmt.Sprint("set/", n), fmt.Sprint("object/", n)
			for from := 0; from < n; from += 1000 {
				elements, fields := []any{}, map[string]any{}
				for i := range 1000 {
					elements, fields[fmt.Sprint(from+i)] = append(elements, from+i), i
				}
				if err := a.Set(set).Add(t.Context(), elements...); err != nil {
					t.Fatal(err)
				}
				if err := a.Object(object).Patch(t.Context(), fields); err != nil {
					t.Fatal(err)
				}
			}
			i := 0
			costs = append(costs, testing.AllocsPerRun(10, func() {
				i++
				for _, w := range []struct {
					op, key, body string
					condition     *Condition
				}{
					{"set_update", set, fmt.Sprintf(`{"add":[%d],"remove":[%d]}`, n+i, i), nil},
					{"kv_patch", object, fmt.Sprintf(`{"%d":true}`, i), &Condition{Exists: true}},
				} {
					got, err := call[Written](t, a, w.op, Request{Key: w.key, Query: url.Values{}, Body: json.RawMessage(w.body), If: w.condition})
					if v, large := a.Version(w.key); err != nil || got.Created || got.Value != nil || got.Version != v.String() || !large {
						t.Fatalf("%s answers %+v, %v", w.op, got, err)
					}
				}
			}))
		}
		if costs[1] > costs[0]*1.5+100 {
			t.Errorf("%v allocations with 1,000 elements, %v with 30,000", costs[0], costs[1])
		}
		got, err := call[Written](t, a, "set_update", Request{Key: "small", Body: json.RawMessage(`{"add":[1]}`)})
		if err != nil || !got.Created || got.Value == nil || got.Value.String() != "[1]" {
			t.Errorf("a small set answers %+v, %v", got, err)
		}
		if v, large := a.Version("small"); v == 0 || large {
			t.Errorf("a small set has version %v, large %v", v, large)
		}
		if v, large := a.Version("absent"); v != 0 || large {
			t.Errorf("an absent key has version %v, large %v", v, large)
		}
	})
}
