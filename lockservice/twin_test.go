package lockservice

import (
	"bytes"
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// twin is the network and the membership of some sessions in memory. Packets take the time
// delay, and do not reach peers that are cut off.
type twin struct {
	t     testing.TB
	delay time.Duration

	mu       sync.Mutex // guards the fields below
	sessions map[string]*Session
	cut      map[string]bool // peers that are cut off
}

func newTwin(t testing.TB, delay time.Duration) *twin {
	return &twin{t: t, delay: delay, sessions: make(map[string]*Session), cut: make(map[string]bool)}
}

// open starts the session of the peer name. tune, if set, may change its configuration.
func (w *twin) open(name string, voters []string, tune func(*SessionConfig)) *Session {
	w.t.Helper()
	began := time.Now()
	cfg := SessionConfig{
		Node:  Config{Self: name, Voters: Voters{Names: voters}, FirstBoot: true},
		Send:  func(peer string, b []byte) { w.send(name, peer, b) },
		Clock: func() time.Duration { return time.Since(began) },
	}
	if tune != nil {
		tune(&cfg)
	}
	s, err := Open(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	w.mu.Lock()
	w.sessions[name] = s
	w.mu.Unlock()
	w.view()
	return s
}

// view gives every session the view of the peers that are up.
func (w *twin) view() {
	w.mu.Lock()
	names := sortedKeys(w.sessions)
	names = slices.DeleteFunc(names, func(n string) bool { return w.cut[n] })
	all := make([]*Session, 0, len(w.sessions))
	for _, s := range w.sessions {
		all = append(all, s)
	}
	w.mu.Unlock()
	for _, s := range all {
		s.SetLive(names)
	}
}

func (w *twin) send(from, to string, b []byte) {
	b = bytes.Clone(b)
	deliver := func() {
		w.mu.Lock()
		s := w.sessions[to]
		if w.cut[from] || w.cut[to] {
			s = nil
		}
		w.mu.Unlock()
		if s != nil {
			s.Receive(from, b)
		}
	}
	if w.delay == 0 {
		deliver()
		return
	}
	time.AfterFunc(w.delay, deliver)
}

// isolate cuts peers off, or connects them again. The views change only if told is true.
func (w *twin) isolate(cut bool, tell bool, names ...string) {
	w.mu.Lock()
	for _, n := range names {
		w.cut[n] = cut
	}
	w.mu.Unlock()
	if tell {
		w.view()
	}
}

// over returns a context that has ended, with which Close waits for nothing.
var over, _ = context.WithTimeout(context.Background(), 0)

// crash removes a session without a Close that other peers could notice.
func (w *twin) crash(name string) {
	w.mu.Lock()
	s := w.sessions[name]
	delete(w.sessions, name)
	w.mu.Unlock()
	w.isolate(true, false, name)
	s.Close(over)
	w.isolate(false, false, name)
}

// stop closes a session and removes it from the network.
func (w *twin) stop(s *Session) {
	w.t.Helper()
	if err := s.Close(context.Background()); err != nil {
		w.t.Error(err)
	}
	w.mu.Lock()
	delete(w.sessions, s.cfg.Node.Self)
	w.mu.Unlock()
	w.view()
}

func (w *twin) close() {
	w.mu.Lock()
	all := w.sessions
	w.sessions = make(map[string]*Session)
	w.mu.Unlock()
	for _, s := range all {
		s.Close(over)
	}
}

// three opens the voters a, b and c.
func (w *twin) three() (a, b, c *Session) {
	return w.open("a", abc, nil), w.open("b", abc, nil), w.open("c", abc, nil)
}
