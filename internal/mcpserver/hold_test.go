package mcpserver

import (
	"net/url"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/sentinel-peer/sentinel-peer/internal/api"
)

func TestLocks(t *testing.T) {
	each(t, nil, func(t *testing.T, x *fixture, s *mcp.ClientSession) {
		got := x.good(s, "lock_acquire", `{"name":"deploy"}`)
		x.shows(got, `{"name":"deploy","acquired":true,"hold_s":120,"guarantee":"this-peer"}`)
		lease := got["lease"].(string)
		x.bad("held", s, "lock_acquire", `{"name":"deploy"}`)
		x.bad("held", s, "lock_acquire", `{"name":"deploy","wait_s":0.1}`)
		x.shows(x.good(s, "lock_acquire", `{"name":"deploy","lease":"`+lease+`"}`), `{"acquired":true}`)
		x.bad("not-holder", s, "lock_acquire", `{"name":"other","lease":"`+lease+`"}`)
		x.bad("not-holder", s, "lock_release", `{"name":"other","lease":"`+lease+`"}`)
		x.shows(x.good(s, "lock_release", `{"name":"deploy","lease":"`+lease+`"}`), `{"released":true}`)
		x.bad("not-holder", s, "lock_acquire", `{"name":"deploy","lease":"`+lease+`"}`)
		x.good(s, "lock_acquire", `{"name":"deploy","hold_s":0.2}`) // released by itself after 0.2 s
		x.good(s, "lock_acquire", `{"name":"deploy","wait_s":20}`)
		x.bad("bad-lock-name", s, "lock_acquire", `{"name":"a\u0000b"}`)
		x.bad("bad-request", s, "lock_acquire", `{}`)
	})
}

// One client may have its share of the leases held for agents; the rest is for others.
func TestAClientHasItsShareOfHolds(t *testing.T) {
	each(t, nil, func(t *testing.T, x *fixture, s *mcp.ClientSession) {
		x.server.holds.places = api.NewShares("leases held for agents", 2, 1)
		lease := x.good(s, "lock_acquire", `{"name":"a"}`)["lease"].(string)
		x.bad("too-many-requests", s, "lock_acquire", `{"name":"b"}`)
		x.share = "another"
		x.good(s, "lock_acquire", `{"name":"b"}`)
		x.share = ""
		x.good(s, "lock_release", `{"name":"a","lease":"`+lease+`"}`)
		x.good(s, "lock_acquire", `{"name":"c"}`)
	})
}

// locks returns the locks that are held or waited for.
func (x *fixture) locks() []api.LockEntry {
	res, err := api.Find("lock_list").Do(x.t.Context(), x.agent, api.Request{Leases: x.server.cfg.Leases})
	if err != nil {
		x.t.Error(err)
		return nil
	}
	return res.Body.(api.LockList).Items
}

// A hold renews its lease, and so lasts longer than the lease's TTL.
func TestAHoldOutlastsItsLease(t *testing.T) {
	x := serve(t, nil)
	s := x.connect("", nil)
	lease := x.good(s, "lock_acquire", `{"name":"long"}`)["lease"].(string)
	left := x.locks()[0].Holders[0].Remaining
	if left > api.Duration(30*time.Second) {
		t.Fatalf("the lease lasts %v; this test waits for it", left)
	}
	renewed := make(chan struct{})
	go func() { // a renewal shows when the remaining time grows
		defer close(renewed)
		for t.Context().Err() == nil {
			list := x.locks()
			if len(list) == 0 {
				t.Error("the lock was lost")
				return
			}
			now := list[0].Holders[0].Remaining
			if now > left {
				return
			}
			left = now
			time.Sleep(10 * time.Millisecond)
		}
	}()
	<-renewed
	if out := x.good(s, "lock_acquire", `{"name":"long","lease":"`+lease+`"}`); out["hold_s"] != 120.0 {
		t.Errorf("held for %v", out)
	}
}

// A hold ends when its lease is released by another way, and when its time is over.
func TestAHoldEndsWithItsLease(t *testing.T) {
	x := serve(t, nil)
	s := x.connect("", nil)
	lease := x.good(s, "lock_acquire", `{"name":"a"}`)["lease"].(string)
	if _, err := api.Find("lock_release").Do(t.Context(), x.agent, api.Request{Key: "a", Query: url.Values{"lease": {lease}}, Leases: x.server.cfg.Leases}); err != nil {
		t.Fatal(err)
	}
	x.soon("what was given back is held", func() bool { return x.held() == 0 })
	x.good(s, "lock_acquire", `{"name":"b","hold_s":0.1}`)
	if n := len(x.locks()); n != 1 {
		t.Fatalf("%d leases", n)
	}
	left := x.locks()
	x.soon("what is over is held", func() bool {
		if now := x.locks(); len(now) > 0 {
			left = now
		}
		return x.held() == 0
	})
	if d := time.Duration(left[0].Holders[0].Remaining); d < 100*time.Millisecond {
		t.Errorf("the lease ran out, and was not given back: %v", left)
	}
}
