package transport

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"
)

func newTestRoster() *roster {
	r := newRoster("self")
	r.seen = func(Member) {}
	r.lost = func(string, string) {}
	r.left = func(string) {}
	r.over = func(string) {}
	return r
}

func node(id string, port uint16) *memberlist.Node {
	return &memberlist.Node{Name: id, Addr: net.IPv4(10, 0, 0, 1), Port: port, Meta: []byte("meta of " + id)}
}

func TestWhoIsGoneIsListedForAWhile(t *testing.T) {
	r := newTestRoster()
	var over []string
	r.over = func(id string) { over = append(over, id) }
	r.NotifyJoin(node("a", 1))
	r.NotifyJoin(node("b", 2))
	r.NotifyLeave(node("a", 1))
	now := time.Now()
	r.tidy(now.Add(forgetGone - time.Minute))
	if got := r.list(); len(got) != 2 || got[0].State != Dead || string(got[0].Meta) != "meta of a" {
		t.Errorf("soon after, the list is %v", got)
	} else if len(over) != 0 {
		t.Errorf("soon after, %v are over", over)
	}
	r.tidy(now.Add(forgetGone + time.Minute))
	if got := r.list(); len(got) != 1 || got[0].ID != "b" {
		t.Errorf("long after, the list is %v", got)
	} else if !slices.Equal(over, []string{"a"}) {
		t.Errorf("long after, %v are over", over)
	}
}

func TestTheListOfTheGoneIsBounded(t *testing.T) {
	r := newTestRoster()
	r.NotifyJoin(node("living", 1))
	for i := range maxGone + 50 {
		n := node(fmt.Sprintf("%05d", i), 2)
		r.NotifyJoin(n)
		r.NotifyLeave(n)
	}
	r.tidy(time.Now())
	got := r.list()
	if len(got) != maxGone+1 || got[0].ID != "00050" || got[maxGone].ID != "living" {
		t.Errorf("%d are listed, from %s to %s; want the %d last gone and the living", len(got), got[0].ID, got[len(got)-1].ID, maxGone)
	}
}

func TestAGoodbyeCountsBeforeAndAfterTheNewsOfIt(t *testing.T) {
	f := func(name string, events ...func(*roster)) {
		t.Helper()
		r := newTestRoster()
		var left []string
		r.left = func(addr string) { left = append(left, addr) }
		r.NotifyJoin(node("a", 1))
		for _, e := range events {
			e(r)
		}
		if got := r.list(); got[0].State != Left || len(left) != 1 || left[0] != "10.0.0.1:1" {
			t.Errorf("%s: %v, told of %v", name, got, left)
		}
	}
	bye := func(r *roster) { r.bye("a", time.Now()) }
	news := func(r *roster) { r.NotifyLeave(node("a", 1)) }
	f("before", bye, news)
	f("after", news, bye)

	f("and outlasts word of the life", bye, func(r *roster) { r.NotifyUpdate(node("a", 1)) }, news)

	r := newTestRoster()
	r.NotifyJoin(node("a", 1))
	r.NotifyJoin(node("b", 2))
	bye(r)
	if r.NotifyAlive(node("a", 1)) == nil || r.NotifyAlive(node("b", 2)) != nil {
		t.Error("who said goodbye is taken for alive, or another one is not")
	}
	r.tidy(time.Now().Add(2 * forgetGone))
	if len(r.byes) != 0 {
		t.Error("a goodbye is kept for ever")
	}
}

func TestAConflictIsForgottenWhenItStops(t *testing.T) {
	r := newTestRoster()
	r.NotifyJoin(node("a", 1))
	r.NotifyConflict(node("a", 1), node("a", 9))
	if got := r.list(); !got[0].Conflict || got[0].Addr != "10.0.0.1:1" {
		t.Errorf("amid the conflict: %v", got)
	}
	r.tidy(time.Now().Add(2 * forgetConflict))
	if r.list()[0].Conflict {
		t.Error("it stays for ever")
	}
}

// Until memberlist has noticed that a life ended, the next one at its address, ours
// too, gets what is sent to it: nobody sends to it any more.
func TestTheLifeBeforeAtOneAddressIsDead(t *testing.T) {
	r := newTestRoster()
	r.NotifyJoin(node("b1", 1))
	r.NotifyJoin(node("b2", 1))
	r.NotifyJoin(node("a2", 2))
	r.NotifyJoin(node("a1", 2)) // heard of later
	r.NotifyJoin(node("self", 3))
	r.NotifyJoin(node("z", 3)) // our own life before, whatever its id
	f := func(want ...string) {
		t.Helper()
		var alive []string
		for _, m := range r.list() {
			if _, ok := r.alive(m.ID); ok != (m.State == Alive && m.ID != "self") {
				t.Errorf("%s is listed as %v, and would be sent to: %t", m.ID, m.State, ok)
			}
			if m.State == Alive {
				alive = append(alive, m.ID)
			}
		}
		if !slices.Equal(alive, want) {
			t.Errorf("alive are %v, want %v", alive, want)
		}
	}
	f("a2", "b2", "self")
	r.NotifyLeave(node("a2", 2))
	f("a1", "b2", "self")
}

func TestAnAddressIsKnownWhileAMemberLivesThere(t *testing.T) {
	r := newTestRoster()
	ip := netip.MustParseAddr("10.0.0.1")
	lives := func(when string, want bool) {
		t.Helper()
		if r.lives(ip) != want {
			t.Errorf("%s: a member lives there is %t", when, !want)
		}
	}
	lives("at first", false)
	r.NotifyJoin(node("a", 1))
	r.NotifyJoin(node("a2", 1)) // the next life
	r.NotifyJoin(node("b", 2))
	r.NotifyLeave(node("a", 1))
	r.NotifyLeave(node("b", 2))
	lives("with one left", true)
	moved := node("a2", 1)
	moved.Addr = net.IPv4(10, 0, 0, 2)
	r.NotifyUpdate(moved)
	lives("after it moved", false)
}
