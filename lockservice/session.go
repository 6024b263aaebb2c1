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
	Node Config // Boot, Secret, Seed, Durable, State and Behind are the session's to fill

	// Send queues a packet for a peer, on the urgent class of its stream, and
	// returns at once. It owns the packet. A packet for a peer that is unknown or
	// away is dropped; nothing here depends on delivery.
	Send func(peer string, packet []byte)

	// Alone says that nobody was named: this peer is its own only voter, until Reload.
	Alone bool

	// StateDir keeps a bound of the tokens acknowledged, so that they rise across
	// restarts whatever the wall clocks say. "" keeps nothing.
	StateDir string

	// Lost, if set, hears of each lease that ends without Unlock, one after the other,
	// on a goroutine of its own: it may wait, and call the session. While it does, up to
	// 65,536 wait to be told; those beyond are counted by Stats.Lost only.
	Lost func(*LostError)

	TTL     time.Duration        // of leases without WithTTL: 10 s
	MaxWait time.Duration        // of calls whose context has no deadline: 1 min
	Clock   func() time.Duration // CLOCK_BOOTTIME, or what comes closest; tests in virtual time bring theirs
	Logger  *slog.Logger         // discards by default
}

func (c SessionConfig) withDefaults() SessionConfig {
	c.TTL = cmp.Or(c.TTL, 10*time.Second)
	c.MaxWait = cmp.Or(c.MaxWait, time.Minute)
	if c.Clock == nil {
		c.Clock = monotonic
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// maxLosses bounds the leases that wait for SessionConfig.Lost to be told of them.
const maxLosses = 1 << 16

// Session takes locks for one peer, and serves as voter if it is one. All methods
// may be called at the same time.
type Session struct {
	cfg      SessionConfig
	waiting  atomic.Int32           // callers at mu
	lost     atomic.Uint64          // leases, so far
	voters   atomic.Pointer[Voters] // in force here
	alone    atomic.Bool            // nobody but this peer was named
	wake     chan struct{}          // capacity 1: a full one already says "look again"
	done     chan struct{}          // closed when Close has waited enough
	drained  chan struct{}          // of capacity 1: a full one says that Close has nothing to wait for
	wg       sync.WaitGroup
	logs     *aside.Queue  // on their way to the handler of Logger
	losses   *aside.Queue  // to tell cfg.Lost
	majority majority      // whether one answers
	view     atomic.Uint64 // counts the changes of who is up, and of the voters

	mu      sync.Mutex // guards what follows
	node    *Node
	closed  bool                          // Close was called
	over    bool                          // nothing is sent or heard any more
	skipped int                           // calls since the last flush
	nextAt  time.Duration                 // when the loop looks
	persist *State                        // to be written by the loop
	pending map[uint64]func(Time, Result) // who waits for the one answer to a call
	leases  map[uint64]*Lease
	leaving map[uint64]*Lease        // whose release is not confirmed
	resumes map[uint64]chan struct{} // closed when the lease is resumed, or is not
	lines   map[string]*line
}

// Open starts a session. The caller passes packets to Receive and changes of the
// view to SetLive; until the first SetLive the session believes itself alone.
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

// do calls f with the node, then carries out what the node wants done. Callers that
// queue up for the node leave that to the last of them: what they caused then
// shares packets.
func (s *Session) do(f func(t Time)) {
	for _, p := range s.locked(f) {
		s.cfg.Send(p.To, p.Bytes)
	}
}

// locked is do without the sending. A panic of f leaves no lock held.
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

// flush takes Ready, with mu held, and returns what is to be sent without.
func (s *Session) flush(t Time) (packets []Packet) {
	s.skipped = 0
	look := false
	for more := true; more; {
		rd := s.node.Ready(t)
		for _, r := range rd.Results {
			s.deliver(t, r)
		}
		more = len(rd.Results) > 0 // whose turn it is then has made its call
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

// deliver hands a result to whom it is for. Nothing here waits.
func (s *Session) deliver(t Time, r Result) {
	switch l := s.leases[r.ID]; r.Event {
	case Extended:
		if l != nil {
			l.extend(r.Deadline, r.Round)
		}
	case Lost:
		if l != nil {
			l.end(r.Err)
			delete(s.leases, r.ID)
		}
	default:
		if decided := s.pending[r.ID]; decided != nil {
			delete(s.pending, r.ID)
			decided(t, r)
		}
	}
}

// run is the loop: it ticks the node and writes its state.
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

// save makes state durable, off the way of everybody else.
func (s *Session) save(state State) bool {
	if err := writeState(s.cfg.StateDir, state); err != nil {
		s.cfg.Logger.Error("lock state not written: this voter acknowledges nothing beyond its old bound", "dir", s.cfg.StateDir, "err", err)
		return false
	}
	s.do(func(Time) { s.node.Persisted(state) })
	return true
}

// Receive takes packets that peer sent; its name must be authenticated. It does not
// keep them. What packets of one call cause goes out together.
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

// SetLive tells which peers are up, by name. It decides whom to ask first, and is
// never part of a quorum but in best-effort mode.
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

// Voters returns those in force at this peer, as they were configured or reloaded. The
// names are not to be changed. It does not wait, whatever locks the caller holds.
func (s *Session) Voters() Voters { return *s.voters.Load() }

// Guarantee returns what leases are worth here.
func (s *Session) Guarantee() Guarantee {
	switch {
	case s.Voters().BestEffort:
		return BestEffort
	case s.alone.Load():
		return ThisPeer
	}
	return Quorum
}

// Stats returns the counters of this life, and what is held and waited for now.
func (s *Session) Stats() (st Stats) {
	s.do(func(t Time) {
		st = s.node.Stats()
		st.Held, st.Lost, st.Quarantine, st.Fresh = len(s.leases), s.lost.Load(), s.node.Quarantine(t), s.node.Fresh(t)
		for _, l := range s.lines { // each for itself: no order
			st.Waiting += 1 + len(l.waiting)
		}
	})
	return st
}

// Close ends every call that waits with ErrClosed, and the context of every lease. Then
// it waits, within ctx, until the holders have called Unlock and the voters know. What is
// not unlocked by then is not released, for its holder may still be at work: it runs out,
// and Close returns an error that says how many. A lease that is renewed by hand is not
// waited for and not released: its bearer may go on with it at another peer. Close waits
// for the session's goroutine as well, and up to a second each for Lost and for the
// handler of Logger to hear the last; a second call waits for the first.
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

// shut begins to close.
func (s *Session) shut(t Time) {
	s.closed = true
	for _, id := range sortedKeys(s.leases) {
		l := s.leases[id]
		l.end(&LostError{Lock: l.name, Token: l.token, Cause: ErrClosed})
		if l.manual {
			delete(s.leases, id)
		}
	}
	s.node.Shut(t)
	s.refuseAll(t, func(id uint64) bool { return s.leaving[id] == nil })
}

// refuseAll answers calls with ErrClosed.
func (s *Session) refuseAll(t Time, which func(id uint64) bool) {
	for _, id := range sortedKeys(s.pending) {
		if which(id) {
			_ = s.node.Release(t, id)
			s.deliver(t, Result{ID: id, Event: Refused, Err: ErrClosed})
		}
	}
}

// Inspect asks a majority of voters who holds a lock.
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

// Recorded returns what this peer alone has on record for a lock, at once: see
// Node.Recorded.
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

// Survey returns a page of the locks that are held or waited for in the cluster, and the
// clients that hold them and wait, as far as the peers that answer within ctx know. It
// waits two seconds at a time for no peer that left an earlier survey without an answer,
// and fails with ErrClosed only.
func (s *Session) Survey(ctx context.Context, q Query) (Survey, error) {
	ctx, cancel := s.cfg.bound(ctx)
	defer cancel()
	r, err := s.answer(ctx, func(t Time) (uint64, error) { return s.node.Survey(t, q), nil })
	if err != nil {
		return Survey{}, err
	}
	return r.surveyed()
}

// answer makes a call of the node that is answered upon its release at the latest: when ctx
// ends.
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

// behind yields the calls that wait behind those made, and when their lines were begun.
func (s *Session) behind(yield func(Call, time.Duration) bool) {
	for _, l := range s.lines { // in no order
		for _, w := range l.waiting {
			if !yield(w.Call, w.asked) {
				return
			}
		}
	}
}

// start makes a call of the node and returns where its result comes.
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

// bound gives ctx a deadline if it has none: nobody waits for ever.
func (c SessionConfig) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, c.MaxWait)
}
