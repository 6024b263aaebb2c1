package lockservice

import (
	"cmp"
	"context"
	crand "crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sentinel-peer/sentinel-peer/internal/aside"
)

// SessionConfig configures a Session. Node.Self, Node.Voters and Send are
// mandatory.
type SessionConfig struct {
	Node Config // the session fills Boot, Secret, Seed, Durable, State and Behind

	// Send queues a packet for a peer, before other traffic, and returns at once. It owns
	// the packet. It may drop a packet, for instance for a peer that is unknown or down:
	// safety does not depend on delivery.
	Send func(peer string, packet []byte)

	// Alone says that no voters were configured: until Reload this peer is its only voter.
	Alone bool

	// StateDir is a directory for a bound of the acknowledged tokens, so that tokens rise
	// across restarts whatever the wall clocks say. "" keeps nothing.
	StateDir string

	// Lost, if set, is called for each lease that Stats.Lost or Stats.Lapsed counts, one call
	// after the other, on a goroutine of its own: it may block, and call the session. Up to
	// 65,536 leases wait for it; more are only counted.
	Lost func(*LostError)

	TTL     time.Duration        // TTL of leases without WithTTL; 10 s by default, or Node.MaxTTL if that is shorter
	MaxWait time.Duration        // time-out of calls whose context has no deadline; 1 min by default
	Clock   func() time.Duration // CLOCK_BOOTTIME by default, Go's monotonic clock outside Linux; tests may set it
	Logger  *slog.Logger         // discards by default
}

func (c SessionConfig) withDefaults() SessionConfig {
	c.MaxWait = cmp.Or(c.MaxWait, time.Minute)
	if c.Clock == nil {
		c.Clock = monotonic
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// maxLosses bounds the calls of SessionConfig.Lost that wait for their turn.
const maxLosses = 1 << 16

// Session takes locks for one peer, and serves as a voter if the peer is one. All methods may be
// called at the same time.
type Session struct {
	cfg      SessionConfig
	waiting  atomic.Int32           // number of goroutines that wait for mu in do
	lost     atomic.Uint64          // Stats.Lost
	lapsed   atomic.Uint64          // Stats.Lapsed
	voters   atomic.Pointer[Voters] // the voters in force
	alone    atomic.Bool            // no voters were configured
	wake     chan struct{}          // capacity 1; a full one has the loop look again
	done     chan struct{}          // closed when Close stops waiting for holders
	drained  chan struct{}          // capacity 1; a full one says that every holder has unlocked
	wg       sync.WaitGroup
	logs     *aside.Queue // log records on their way to the handler of Logger
	losses   *aside.Queue // calls of cfg.Lost
	majority majority
	view     atomic.Uint64 // number of changes of the view and of the voters

	mu      sync.Mutex // guards the fields below
	node    *Node
	closed  bool                          // Close was called
	over    bool                          // Close has ended: packets are ignored
	skipped int                           // calls of do since the last flush
	nextAt  time.Duration                 // when the loop looks at the node next
	persist *State                        // state that the loop is to write
	pending map[uint64]func(Time, Result) // by call: takes its only answer, with mu held
	leases  map[uint64]*Lease
	leaving map[uint64]*Lease        // leases whose release is not confirmed
	resumes map[uint64]chan struct{} // closed when the call of a Resume is decided
	lines   map[string]*line
}

// Open starts a session. Its errors say which field of cfg is wrong, or what is wrong with the
// state in StateDir. The caller passes packets to Receive and changes of the view to
// SetLive; until the first SetLive only this peer is up in its view.
func Open(cfg SessionConfig) (*Session, error) {
	cfg = cfg.withDefaults()
	if cfg.Send == nil {
		return nil, errors.New("field Send is missing: it carries packets to peers")
	}
	crand.Read(cfg.Node.Boot[:])
	crand.Read(cfg.Node.Secret[:])
	var seed [8]byte
	crand.Read(seed[:])
	cfg.Node.Seed = binary.NativeEndian.Uint64(seed[:])
	if cfg.StateDir != "" {
		state, err := readState(cfg.StateDir)
		if err != nil {
			return nil, fmt.Errorf("lock state: %w", err)
		}
		cfg.Node.Durable, cfg.Node.State = true, state
	}
	s := &Session{cfg: cfg, losses: aside.New(maxLosses), majority: majority{turn: make(chan struct{}, 1)},
		wake: make(chan struct{}, 1), done: make(chan struct{}), drained: make(chan struct{}, 1),
		pending: make(map[uint64]func(Time, Result)), leases: make(map[uint64]*Lease), leaving: make(map[uint64]*Lease),
		resumes: make(map[uint64]chan struct{}), lines: make(map[string]*line)}
	cfg.Node.Behind = s.behind
	node, err := New(cfg.Node, s.time())
	if err != nil {
		return nil, err
	}
	s.node, s.cfg.Node = node, node.cfg
	s.cfg.TTL = cmp.Or(cfg.TTL, min(10*time.Second, node.cfg.MaxTTL))
	s.voters.Store(&node.cfg.Voters)
	s.alone.Store(cfg.Alone)
	if err := s.cfg.Node.validateTTL(s.cfg.TTL); err != nil {
		return nil, err
	}
	if s.cfg.MaxWait < 0 {
		return nil, fmt.Errorf("MaxWait %v: want a positive duration", s.cfg.MaxWait)
	}
	s.cfg.Logger, s.logs = aside.Logger(cfg.Logger)
	s.wg.Go(s.run)
	return s, nil
}

func (s *Session) time() Time { return Time{Mono: s.cfg.Clock(), Wall: TokenAt(time.Now())} }

// do calls f with mu held and then carries out what the node wants done. While other callers
// wait for mu, that is left to the last of them, or to every 65th, so that the messages
// of concurrent calls share packets.
func (s *Session) do(f func(t Time)) {
	for _, p := range s.locked(f) {
		s.cfg.Send(p.To, p.Bytes)
	}
}

// locked does all of do except sending the packets, which it returns. A panic of f does not leave
// mu locked.
func (s *Session) locked(f func(t Time)) (packets []Packet) {
	s.waiting.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting.Add(-1)
	t := s.time()
	f(t)
	if s.skipped++; s.waiting.Load() == 0 || s.skipped > 64 {
		packets = s.flush(t)
	}
	if s.closed && len(s.leases)+len(s.leaving) == 0 {
		select {
		case s.drained <- struct{}{}:
		default:
		}
	}
	return packets
}

// flush delivers the results of Ready and returns its packets, which are sent after mu is
// released. The caller holds mu.
func (s *Session) flush(t Time) (packets []Packet) {
	s.skipped = 0
	look := false
	for more := true; more; {
		rd := s.node.Ready(t)
		for _, r := range rd.Results {
			s.deliver(t, r)
		}
		more = len(rd.Results) > 0 // a result may have had the next caller of a line make its call
		for _, w := range rd.Warnings {
			s.cfg.Logger.Warn("lock configuration differs", "peer", w.Peer, "epoch", w.Epoch, "err", w.String())
		}
		if rd.Persist != nil {
			s.persist, look = rd.Persist, true
		}
		if packets == nil {
			packets = rd.Packets
		} else {
			packets = append(packets, rd.Packets...)
		}
	}
	if next := s.node.Next(); look || next < s.nextAt {
		s.nextAt = next
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
	return packets
}

// deliver passes a result to its lease or its caller. It never blocks. The caller holds mu.
func (s *Session) deliver(t Time, r Result) {
	switch l := s.leases[r.ID]; r.Event {
	case Extended:
		if l != nil {
			l.extend(r.End, r.Round)
		}
	case Lost:
		if l != nil {
			l.lose(errors.Unwrap(r.Err))
			delete(s.leases, r.ID)
		}
	default:
		if decided := s.pending[r.ID]; decided != nil {
			delete(s.pending, r.ID)
			decided(t, r)
		}
	}
}

// run is the session's loop: it ticks the node, and writes its state to disk without holding mu.
func (s *Session) run() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var unsaved *State
	var triedAt time.Duration
	for {
		select {
		case <-timer.C:
		case <-s.wake:
		case <-s.done:
			return
		}
		var now, nap time.Duration
		s.do(func(t Time) {
			s.node.Tick(t)
			if s.persist != nil {
				unsaved, s.persist, triedAt = s.persist, nil, t.Mono-maxNap
			}
			s.nextAt = s.node.Next()
			now, nap = t.Mono, min(s.nextAt-t.Mono, maxNap)
		})
		if unsaved != nil && now-triedAt >= maxNap {
			triedAt = now
			if s.save(*unsaved) {
				unsaved = nil
			}
		}
		timer.Reset(nap)
	}
}

// save writes state to disk and tells the node. It reports whether that succeeded; the loop tries
// again every maxNap.
func (s *Session) save(state State) bool {
	if err := writeState(s.cfg.StateDir, state); err != nil {
		s.cfg.Logger.Error("lock state not written: this voter acknowledges nothing beyond its old bound", "dir", s.cfg.StateDir, "err", err)
		return false
	}
	s.do(func(Time) { s.node.Persisted(state) })
	return true
}

// Receive handles packets from a peer whose name the caller has authenticated. It does not keep
// them. The messages that the packets of one call cause share packets.
func (s *Session) Receive(peer string, packets ...[]byte) {
	s.do(func(t Time) {
		if s.over {
			return
		}
		for _, p := range packets {
			if err := s.node.Receive(t, peer, p); err != nil {
				s.cfg.Logger.Debug("lock packet refused", "peer", peer, "err", err)
			}
		}
	})
}

// SetLive tells the session the names of the peers that are up. The view decides whom to ask first,
// and counts towards a quorum only in best-effort mode.
func (s *Session) SetLive(names []string) {
	s.do(func(t Time) { s.node.SetLive(t, names) })
	s.view.Add(1)
}

// Reload changes the voters while running, by one name and one epoch. It fails with
// ErrVoters, ErrReload or ErrConfigMismatch and then changes nothing.
func (s *Session) Reload(v Voters) (err error) {
	s.do(func(t Time) {
		if err = s.node.Reload(t, v); err == nil {
			v = v.normal()
			s.voters.Store(&v)
			s.alone.Store(false)
			s.view.Add(1)
		}
	})
	return err
}

// Voters returns the voters in force at this peer. The caller must not change Names. The call
// never blocks.
func (s *Session) Voters() Voters { return *s.voters.Load() }

// Guarantee returns what the session guarantees of its leases.
func (s *Session) Guarantee() Guarantee {
	switch {
	case s.Voters().BestEffort:
		return BestEffort
	case s.alone.Load():
		return ThisPeer
	}
	return Quorum
}

// Stats returns the counters since Open, and how many leases are held and waited for now.
func (s *Session) Stats() (st Stats) {
	s.do(func(t Time) {
		st = s.node.Stats()
		st.Held, st.Lost, st.Lapsed = len(s.leases), s.lost.Load(), s.lapsed.Load()
		st.Quarantine, st.Fresh = s.node.Quarantine(t), s.node.Fresh(t)
		for _, l := range s.lines { // the order does not matter
			st.Waiting += 1 + len(l.waiting)
		}
	})
	return st
}

// Close ends every call that waits with ErrClosed and cancels the context of every lease. Then it
// waits until all holders have called Unlock and their releases are confirmed, or ctx ends. A
// lease that is not unlocked by then is not released, since its holder may still be at
// work: its record expires, and Close returns an error with the number of such leases. A
// bearer's lease is neither waited for nor released: its bearer may go on with it at
// another peer. At last Close waits for the session's goroutine, and up to a second
// each for Lost and for the handler of Logger. A second call waits for the first.
func (s *Session) Close(ctx context.Context) (err error) {
	closing := false
	s.do(func(t Time) {
		if closing = !s.closed; closing {
			s.shut(t)
		}
	})
	if closing {
		select {
		case <-s.drained:
		case <-ctx.Done():
		}
		s.do(func(t Time) {
			s.over = true
			if n := len(s.leases); n > 0 {
				err = fmt.Errorf("%d leases were not unlocked in time, and run out: %w", n, context.Cause(ctx))
			}
			s.refuseAll(t, func(uint64) bool { return true })
			clear(s.leases)
		})
		close(s.done)
	}
	s.wg.Wait()
	s.losses.Close(aside.Patience)
	s.logs.Close(aside.Patience)
	return err
}

// shut begins to close: it ends leases and waiting calls, but not the releases under way.
func (s *Session) shut(t Time) {
	s.closed = true
	for _, id := range sortedKeys(s.leases) {
		l := s.leases[id]
		l.lose(ErrClosed)
		if l.bearer {
			delete(s.leases, id)
		}
	}
	s.node.Shut(t)
	s.refuseAll(t, func(id uint64) bool { return s.leaving[id] == nil })
}

// refuseAll ends the calls that which selects with ErrClosed.
func (s *Session) refuseAll(t Time, which func(id uint64) bool) {
	for _, id := range sortedKeys(s.pending) {
		if which(id) {
			_ = s.node.Release(t, id)
			s.deliver(t, Result{ID: id, Event: Refused, Err: ErrClosed})
		}
	}
}

// Inspect asks a majority of voters who holds a lock. It fails with ErrName, ErrClosed, or
// ErrUnavailable if ctx ends before a majority has answered.
func (s *Session) Inspect(ctx context.Context, name string) (Info, error) {
	if err := validateName(name); err != nil {
		return Info{}, err
	}
	ctx, cancel := s.cfg.bound(ctx)
	defer cancel()
	id, result, err := s.start(func(t Time) (uint64, error) { return s.node.Inspect(t, name), nil })
	if err != nil {
		return Info{}, err
	}
	select {
	case r := <-result:
		if r.Err != nil {
			return Info{}, r.Err
		}
		return *r.Info, nil
	case <-ctx.Done():
		s.do(func(t Time) {
			err = s.node.Obstacle(id)
			delete(s.pending, id)
			_ = s.node.Release(t, id)
		})
		return Info{}, timeout(ctx, name, err)
	}
}

// Recorded returns at once what this peer alone knows of a lock: see Node.Recorded. It fails with
// ErrName or ErrClosed.
func (s *Session) Recorded(name string) (info Info, err error) {
	if err := validateName(name); err != nil {
		return Info{}, err
	}
	s.do(func(t Time) {
		if err = ErrClosed; !s.closed {
			info, err = s.node.Recorded(t, name), nil
		}
	})
	return info, err
}

// Survey returns a page of the locks that are held or waited for in the cluster, with their
// holders and waiters, as far as the peers that answer within ctx know them. For two seconds
// after a peer left a survey without an answer, no survey waits for it. The only error is
// ErrClosed.
func (s *Session) Survey(ctx context.Context, q Query) (Survey, error) {
	ctx, cancel := s.cfg.bound(ctx)
	defer cancel()
	r, err := s.answer(ctx, func(t Time) (uint64, error) { return s.node.Survey(t, q), nil })
	if err != nil {
		return Survey{}, err
	}
	return r.surveyed()
}

// answer makes a call of the node and waits for its result. When ctx ends it releases the call,
// which makes the node answer with what it has.
func (s *Session) answer(ctx context.Context, call func(t Time) (uint64, error)) (Result, error) {
	id, result, err := s.start(call)
	if err != nil {
		return Result{}, err
	}
	select {
	case r := <-result:
		return r, nil
	case <-ctx.Done():
		s.do(func(t Time) { _ = s.node.Release(t, id) })
		return <-result, nil
	}
}

// behind yields the callers that wait in a line without a call of their own, and when each asked.
// It is Config.Behind and runs with mu held.
func (s *Session) behind(yield func(Call, time.Duration) bool) {
	for _, l := range s.lines { // the order does not matter
		for _, w := range l.waiting {
			if !yield(w.Call, w.asked) {
				return
			}
		}
	}
}

// start makes a call of the node and returns the channel on which its result arrives.
func (s *Session) start(call func(t Time) (uint64, error)) (id uint64, result chan Result, err error) {
	result = make(chan Result, 1) // a call has one answer
	s.do(func(t Time) {
		if s.closed {
			err = ErrClosed
			return
		}
		if id, err = call(t); err == nil {
			s.pending[id] = func(_ Time, r Result) { result <- r }
		}
	})
	return id, result, err
}

// bound gives ctx the deadline MaxWait if it has none, so that no caller waits for ever.
func (c SessionConfig) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, c.MaxWait)
}
