package transport

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"testing"
)

var newKey = bytes.Repeat([]byte{7}, 32)

// talk has all peers send to each other by packet and by stream, and all of it arrives.
func talk(t *testing.T, all []*peer, round string) {
	t.Helper()
	for _, p := range all {
		for _, q := range all {
			if p == q {
				continue
			}
			frame := []byte(round + " from " + p.cfg.ID)
			until(t, "a packet", func() bool { // one may be lost
				if err := p.SendPacket(q.cfg.ID, frame); err != nil {
					t.Fatal(err)
				}
				return q.took(frame, Packet)
			})
			until(t, "a frame", func() bool {
				if err := p.SendStream(q.cfg.ID, frame, true); err != nil {
					t.Fatal(err)
				}
				return q.took(frame, Stream)
			})
		}
	}
}

// took looks for a frame in what has come.
func (p *peer) took(frame []byte, via Path) bool {
	for {
		select {
		case g := <-p.inbox:
			if g.via == via && bytes.Equal(g.frame, frame) {
				return true
			}
		default:
			return false
		}
	}
}

func TestKeysChangeWithoutAPause(t *testing.T) {
	noLeaks(t)
	all := cluster(t, 3, withKey)
	for step, keys := range [][][]byte{{testKey, newKey}, {newKey, testKey}, {newKey}} {
		for i, p := range all {
			if err := p.SetKeys(keys); err != nil {
				t.Fatal(err)
			}
			talk(t, all, fmt.Sprintf("step %d, %d peers", step, i+1))
		}
	}
	for _, p := range all {
		if n := p.Stats().Refused["wrong_key"]; n != 0 {
			t.Errorf("%s refused %d", p.cfg.ID, n)
		}
	}
	// Who has the old key alone is a stranger now; who comes with the new one is not.
	if err := Probe(t.Context(), all[0].addr, "test", [][]byte{testKey}); err == nil {
		t.Error("the old key still opens")
	}
	late := openPeer(t, "late", func(c *Config) { c.Keys, c.Seeds = [][]byte{newKey}, []string{all[0].addr} })
	late.await("everyone", alive(4))
}

// What was sealed with a key goes with it, streams that live among them.
func TestAKeyThatIsLetGoOfEndsItsStreams(t *testing.T) {
	all := cluster(t, 2, func(c *Config) { c.Keys = [][]byte{newKey, testKey} })
	talk(t, all, "before")
	conns := func() map[*muxConn]struct{} {
		m := all[0].mux
		m.mu.Lock()
		defer m.mu.Unlock()
		return maps.Clone(m.conns)
	}
	before := conns()
	if err := all[0].SetKeys([][]byte{newKey}); err != nil {
		t.Fatal(err)
	}
	after := conns()
	for c := range before {
		if _, lives := after[c]; lives {
			t.Errorf("a connection with %s lives on", c.RemoteAddr())
		}
	}
	if len(before) == 0 {
		t.Error("there was none")
	}
	talk(t, all, "after")
}

func TestKeysThatAreRefusedChangeNothing(t *testing.T) {
	sealed, plain := openPeer(t, "s", withKey), openPeer(t, "p", nil)
	for _, keys := range [][][]byte{{[]byte("short")}, {testKey, testKey}, make([][]byte, MaxKeys+1), {}} {
		if sealed.SetKeys(keys) == nil {
			t.Errorf("%q are taken", keys)
		}
	}
	if err := plain.SetKeys([][]byte{testKey}); !errors.Is(err, ErrPlaintext) {
		t.Error(err)
	}
	if err := Probe(t.Context(), sealed.addr, "test", [][]byte{testKey}); err != nil {
		t.Error(err)
	}
}

func TestAKeyHasOneNamePerCluster(t *testing.T) {
	one, err := KeyIDs("test", [][]byte{testKey, newKey})
	if err != nil || len(one) != 2 || len(one[0]) != 8 || one[0] == one[1] {
		t.Error(one, err)
	}
	if other, _ := KeyIDs("other", [][]byte{testKey}); other[0] == one[0] {
		t.Error("another cluster calls it the same")
	}
}
