package agent

import (
	"testing"
	"time"
)

func TestADeadlineIsSetWithoutTheValue(t *testing.T) {
	a := open(t, Config{Name: "n1"})
	if err := a.Put(t.Context(), "k", "v", WithTTL(time.Hour)); err != nil {
		t.Fatal(err)
	}
	before, _ := a.Entry("k")
	set := func(decide func(tx *Tx)) error {
		return a.Update(t.Context(), func(tx *Tx) error { decide(tx); return nil })
	}
	if err := set(func(tx *Tx) { tx.Persist("k") }); err != nil {
		t.Fatal(err)
	}
	if e, ok := a.Entry("k"); !ok || e.Expiry() != 0 || e.Version() != before.Version() {
		t.Errorf("persisted: until %d, version %v, was %v", e.Expiry(), e.Version(), before.Version())
	}
	sub, err := a.Watch(t.Context(), "k")
	if err != nil {
		t.Fatal(err)
	}
	if err := set(func(tx *Tx) { tx.Expire("k", 50*time.Millisecond) }); err != nil {
		t.Fatal(err)
	}
	e := next(t, sub)
	if e.Cause == CausePut { // of the put above, if it was still under way to subscribers
		e = next(t, sub)
	}
	if e.Cause != CauseExpired || !e.New.IsZero() {
		t.Errorf("got %+v", e)
	}
	if err := set(func(tx *Tx) { tx.Expire("k", 0) }); err == nil {
		t.Error("a TTL of 0 is taken")
	}
}
