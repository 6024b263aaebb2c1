package queue

import (
	"testing"

	"github.com/sentinel-peer/sentinel-peer/crdt"
)

func valueOf(t testing.TB, v any) crdt.Value {
	t.Helper()
	value, err := crdt.ValueOf(v)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// The encoders and decoders by hand give the same as msgpack gives for the struct.
func TestAClaimIsStoredAsItsStruct(t *testing.T) {
	for _, r := range []claimRecord{
		{},
		{State: "claimed", Attempt: 1, Worker: "n1", TTL: 10_000},
		{State: "failed", Attempt: 300, Worker: "n1", NotBefore: 1 << 40, Error: "no \"luck\"\n"},
		{State: "done", Attempt: 2, Worker: "a peer", Result: valueOf(t, map[string]any{"b": []int{1, 2}, "a": nil})},
		{State: "dead", Attempt: -1, TTL: -5, NotBefore: -7, Result: valueOf(t, nil)},
	} {
		got, err := r.value()
		if err != nil || got != valueOf(t, r) {
			t.Errorf("%+v is stored as %v, %v; want %v", r, got, err, valueOf(t, r))
		}
		head, ok := readClaim(got)
		if r.State == "" {
			if ok {
				t.Errorf("%v is read as the claim %+v", got, head)
			}
			continue
		}
		if !ok || head != r.head() {
			t.Errorf("%v is read as %+v, %t; want %+v", got, head, ok, r.head())
		}
	}
}

func TestAnItemIsStoredAsItsStruct(t *testing.T) {
	for _, r := range []itemRecord{
		{},
		{Value: valueOf(t, "a letter")},
		{Value: valueOf(t, []any{1, nil}), Priority: -3, MaxAttempts: 2, NotBefore: 1 << 40},
	} {
		got, err := r.value()
		if err != nil || got != valueOf(t, r) {
			t.Errorf("%+v is stored as %v, %v; want %v", r, got, err, valueOf(t, r))
		}
		if head, ok := readItem(got); !ok || head != (itemHead{r.Priority, r.NotBefore, r.MaxAttempts}) {
			t.Errorf("%v is read as %+v, %t", got, head, ok)
		}
	}
	for _, v := range []crdt.Value{{}, valueOf(t, 7), valueOf(t, map[string]any{"priority": "high"})} {
		if head, ok := readItem(v); ok {
			t.Errorf("%v is read as the item %+v", v, head)
		}
	}
}

func TestWhatIsNoClaimSaysNothing(t *testing.T) {
	for _, v := range []any{nil, 7, "done", []string{"state", "done"}, map[string]any{}, map[string]any{"state": 5},
		map[string]any{"state": "a verdict of later"}, map[string]any{"state": "done", "attempt": "two"}} {
		if c, ok := readClaim(valueOf(t, v)); ok {
			t.Errorf("%v is read as the claim %+v", v, c)
		}
	}
	later := valueOf(t, map[string]any{"state": "done", "attempt": 2, "worker": "n1", "zone": []string{"eu"}})
	if c, ok := readClaim(later); !ok || c != (claimHead{State: "done", Attempt: 2, Worker: "n1"}) {
		t.Errorf("the claim of a later version is read as %+v, %t", c, ok)
	}
	if c, ok := readClaim(crdt.Value{}); ok {
		t.Errorf("the absent value is read as %+v", c)
	}
}
