package replica

import (
	"testing"
	"time"

	"github.com/sentinel-peer/sentinel-peer/crdt"
)

// A key whose deadline has passed is shown to nobody any more, although no Tick has reported that. If a
// frame brings a longer deadline then, readers hear of the end first and then of the return.
func TestWhatADeadlineBringsBackIsTold(t *testing.T) {
	w := newWorld(t, 2, 3, nil)
	w.put(0, "k", "v")
	w.run(time.Second)
	expire := func(i int, at uint64) Ready {
		t.Helper()
		if _, err := w.peers[i].Write(w.now, true, crdt.Op{Verb: crdt.Expire, Key: "k", Expiry: at}); err != nil {
			t.Fatal(err)
		}
		w.peers[i].Flush(w.now)
		return w.peers[i].Ready()
	}
	longer := expire(1, 0)
	expire(0, millis(w.now)+50)
	w.now = w.now.Add(time.Minute)
	for _, e := range longer.Envelopes {
		if err := w.peers[0].Receive(w.now, e.Frame); err != nil {
			t.Fatal(err)
		}
	}
	var causes []crdt.Cause
	for _, ch := range w.peers[0].Ready().Changes {
		causes = append(causes, ch.Cause)
	}
	if len(causes) != 2 || causes[0] != crdt.CauseExpired || causes[1] != crdt.CausePut {
		t.Errorf("the changes are %v", causes)
	}
}
