package agent

import (
	"context"
	cryptorand "crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sentinel-peer/sentinel-peer/agent/fleet"
	"github.com/sentinel-peer/sentinel-peer/agent/workqueue"
	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/gossip"
	"github.com/sentinel-peer/sentinel-peer/gossip/transport"
	"github.com/sentinel-peer/sentinel-peer/internal/aside"
	"github.com/sentinel-peer/sentinel-peer/internal/keyspace"
	"github.com/sentinel-peer/sentinel-peer/internal/memory"
	"github.com/sentinel-peer/sentinel-peer/internal/replica"
)

// Agent is one peer. All methods are safe for concurrent use.
type Agent struct {
	cfg    Config
	log    *slog.Logger // hands lines to logs; it never calls the handler of cfg.Logger itself
	rules  *crdt.Rules
	mem    *memory.Memory
	roster roster
	watch  watchers
	bus    bus
	net    *transport.Memberlist
	inbox  inbox
	locks  locks
	queues *workqueue.Queues
	fleet  *fleet.Fleet
	logs   *aside.Queue // lines of log that wait for the handler of cfg.Logger

	routes atomic.Pointer[map[clock.Actor]string] // member ids of the peers that are up
	closed chan struct{}                          // closed when subscribers and senders must stop
	ended  chan struct{}                          // closed when Close has finished and err is set
	stop   context.CancelFunc                     // ends the loop and the sweep of the work queues
	wg     sync.WaitGroup                         // all goroutines of this peer
	once   sync.Once                              // of Close
	err    error                                  // result of Close

	keysMu sync.Mutex // serialises SetKeys

	// The lock of mem guards the fields below.
	keyIDs   []string // short names of the keys in force; the slice is replaced, never changed
	refusals refusals
}

// Open starts a peer. It does not wait until the peer has synced with another: WaitReady does. ctx
// bounds the start only. If cfg is not valid, the error joins all of its faults.
func Open(ctx context.Context, cfg Config) (*Agent, error) {
	cfg = cfg.withDefaults()
	rules, err := crdt.NewRules(keyspace.Rules(cfg.Rules)...)
	if err := errors.Join(cfg.validate(), err); err != nil {
		return nil, fmt.Errorf("agent: %w", err)
	}
	run, stop := context.WithCancel(context.Background())
	logger, logs := aside.Logger(cfg.Logger.With("peer", cfg.Name))
	a := &Agent{
		cfg: cfg, log: logger, logs: logs, rules: rules, stop: stop,
		closed: make(chan struct{}), ended: make(chan struct{}),
		refusals: make(refusals),
		roster:   roster{name: cfg.Name, log: logger, forgotten: make(map[string]bool)},
	}
	err = a.build(time.Now())
	if err == nil {
		err = a.connect(ctx)
	}
	if err != nil {
		stop()
		logs.Close(aside.Patience)
		return nil, fmt.Errorf("agent: %w", err)
	}
	a.wg.Go(func() { a.run(run) })
	a.wg.Go(func() { a.queues.Sweep(run) })
	a.log.Info("peer started", "addr", a.net.LocalAddr(), "actor", a.Actor())
	return a, nil
}

// build makes the parts of the peer that need no network.
func (a *Agent) build(now time.Time) (err error) {
	actor := newActor(now)
	a.mem, err = memory.New(now, memory.Config{
		Replica: replica.Config{
			Name:  a.cfg.Name,
			Rules: a.rules, MaxBytes: a.cfg.MaxBytes,
			Gossip: gossip.Config{
				Self: actor, Cluster: a.cfg.Cluster, Seed: random(),
				BatchInterval: a.cfg.BatchInterval, MaxSkew: a.cfg.MaxSkew, BeatInterval: max(a.cfg.HeartbeatInterval, 0),
			},
			NewActor: newActor,
		},
		Resolvers: a.cfg.Resolvers, MaxBacklog: a.cfg.MaxBacklog, CacheSize: a.cfg.CacheSize, CacheTTL: a.cfg.CacheTTL,
		Wrote: func(ops []crdt.Op) { a.queues.Wrote(ops) },
	})
	if err == nil && a.cfg.HeartbeatInterval != Manual {
		a.mem.Do(func(r *replica.Replica, _ time.Time) { err = r.Host(now, a.cfg.Name, a.cfg.HeartbeatTTL) })
	}
	if err != nil {
		return err
	}
	a.watch.epoch, a.watch.history.limit = actor, a.cfg.History
	a.routes.Store(new(map[clock.Actor]string))
	a.roster.names.Store(&map[clock.Actor]string{actor: a.cfg.Name})
	a.queues = workqueue.New(workqueue.Host{
		Name: a.cfg.Name, Memory: a.mem, Locks: a.Locks, MaxTTL: a.cfg.Locks.longest(), FirstBoot: a.cfg.Locks.FirstBoot,
		Alive: a.locks.alive, Emit: func(event, name string) { a.bus.emit(LifecycleEvent{Type: EventType(event), Name: name}) },
		Go: a.wg.Go, Log: a.log,
	}, a.cfg.Queues)
	a.inbox.wake = a.mem.Signal
	if err := a.locks.open(a.cfg, a.log, a.queues.Bars, a.bus.emit); err != nil {
		return fmt.Errorf("locks: %w", err)
	}
	a.fleet = fleet.New(fleet.Host{
		Name: a.cfg.Name, Memory: a.mem, Locks: a.locks.session, DefaultTTL: a.cfg.DefaultTTL, HeartbeatTTL: a.cfg.HeartbeatTTL,
		NameOf: a.WriterName, Go: a.wg.Go, Log: a.log,
	})
	return nil
}

// connect opens the transport under a new member id. If it fails, it closes the lock service.
func (a *Agent) connect(ctx context.Context) (err error) {
	var id [10]byte
	cryptorand.Read(id[:])
	a.roster.id = fmt.Sprintf("%012x%x", time.Now().UnixMilli(), id)
	if a.keyIDs, err = transport.KeyIDs(a.cfg.Cluster, a.cfg.Keys); err != nil {
		return errors.Join(err, a.locks.session.Close(ctx))
	}
	a.net, err = transport.Open(ctx, transport.Config{
		Cluster: a.cfg.Cluster, ID: a.roster.id, Meta: metaOf(a),
		Bind: a.cfg.Bind, Advertise: a.cfg.Advertise, Seeds: a.cfg.Seeds, Keys: a.cfg.Keys,
		Inbox:     a.inbox.receive,
		Locks:     a.locks.receive,
		OnMembers: a.onMembers,
		Logger:    a.log, Network: a.cfg.Network, Faults: a.cfg.Faults,
	})
	if err != nil {
		return errors.Join(err, a.locks.session.Close(ctx))
	}
	a.locks.net.Store(a.net)
	return nil
}

func newActor(now time.Time) clock.Actor { return clock.NewActor(now, random()) }

// random returns 64 unpredictable bits: seeds of gossip and parts of actors.
func random() uint64 {
	var b [8]byte
	cryptorand.Read(b[:])
	return binary.BigEndian.Uint64(b[:])
}

// Name returns the name of this peer and of its worker.
func (a *Agent) Name() string { return a.cfg.Name }

// Addr returns the address at which this peer listens for other peers, host:port.
func (a *Agent) Addr() string { return a.net.LocalAddr() }

// SetKeys replaces the keys in force, without a pause: transport.Memberlist.SetKeys says in which
// order a cluster changes its key, and which keys are allowed. After an error the old keys stay in
// force, unless only the announcement to the other peers failed.
func (a *Agent) SetKeys(keys [][]byte) error {
	if a.mem.Closed() {
		return ErrClosed
	}
	ids, err := transport.KeyIDs(a.cfg.Cluster, keys)
	if err != nil {
		return err
	}
	a.keysMu.Lock()
	defer a.keysMu.Unlock()
	if err := a.net.SetKeys(keys); err != nil {
		return err
	}
	a.mem.Do(func(*replica.Replica, time.Time) { a.keyIDs = ids })
	a.log.Info("keys in force", "ids", ids)
	return a.net.SetMeta(metaOf(a)) // last: peers announce only keys that are in force
}

// Actor returns the actor that this peer writes as. It changes when a copy of this peer turns up.
func (a *Agent) Actor() (actor clock.Actor) {
	a.mem.Do(func(r *replica.Replica, _ time.Time) { actor = r.Actor() })
	return actor
}

// Tasks returns a handle on the tasks of the fleet.
func (a *Agent) Tasks() fleet.Tasks { return a.fleet.Tasks() }

// Agents returns a handle on the records by which agents coordinate in shared tasks.
func (a *Agent) Agents() fleet.Agents { return a.fleet.Agents() }

// Workers returns a handle on the workers of the fleet.
func (a *Agent) Workers() fleet.Workers { return a.fleet.Workers() }

// Queue returns a handle on the queue of the fleet, a record that a scheduler keeps. Items that
// workers claim are in work queues instead: see WorkQueue.
func (a *Agent) Queue() fleet.Queue { return a.fleet.Queue() }

// Unfinished returns the tasks that failed and those of workers that are unreachable or gone, as
// far as this peer knows.
func (a *Agent) Unfinished() (fleet.Unfinished, error) { return a.fleet.Unfinished() }

// WorkQueue returns a handle on the work queue of that name: one segment of a key, up to 64 bytes.
// The queue exists after the first Enqueue.
func (a *Agent) WorkQueue(name string) workqueue.Queue { return a.queues.Queue(name) }

// WorkQueues returns the names of the work queues that this peer knows, sorted.
func (a *Agent) WorkQueues() []string { return a.queues.Names() }

// Rules returns the rules that give keys their types, those of Config and the default ones.
func (a *Agent) Rules() *crdt.Rules { return a.rules }

// Close stops the peer. First it makes later calls fail with ErrClosed, and cancels the context of
// every lease and claim that is held here. It waits, up to three seconds and within ctx, for their
// holders to stop: to call Unlock, or one of Complete, Fail and Release. A lease that is given back
// in that time is free for other peers at once. Any other runs out, since its holder may still be
// at work. Close neither waits for a bearer's lease or claim nor gives it back: its
// bearer may go on at another peer.
//
// Then Close deletes the status and the capacity of this peer's worker, and waits, up to three
// seconds and within ctx, until the peers that are up have acknowledged every write made here. At
// last it tells the other peers that it leaves, and stops: no goroutine is left. The error is or
// joins a *ReplicationError if some peers have not acknowledged. Later calls return the same error.
// If the peer has not stopped five seconds after ctx ended, Close returns with ctx's error.
func (a *Agent) Close(ctx context.Context) error {
	a.mem.Forbid()
	a.once.Do(func() { go a.shutDown(ctx) })
	select {
	case <-a.ended:
		return a.err
	case <-ctx.Done():
	}
	select {
	case <-a.ended:
		return a.err
	case <-time.After(closeGrace):
		return fmt.Errorf("close: the peer still has not stopped: %w", ctx.Err())
	}
}

// closeWait is how long Close waits for holders, and again for acknowledgements.
const closeWait = 3 * time.Second

// closeGrace is how long Close waits for the stop after its context has ended: a probe of
// memberlist that is under way takes about a second to end.
const closeGrace = 5 * time.Second

// shutDown does what Close promises. New calls are refused before the last writes are made, so that
// no write is acknowledged to a caller here and left behind.
func (a *Agent) shutDown(ctx context.Context) {
	defer close(a.ended)
	a.bus.emit(LifecycleEvent{Type: Shutdown})
	a.mem.Close()
	a.queues.Close()
	a.withdraw(a.endLeases(ctx), a.queues.LastWrites())
	a.err = waitAllAcked(ctx, a.mem)
	close(a.closed)
	if err := a.net.Leave(ctx); err != nil && !errors.Is(err, transport.ErrClosed) {
		a.log.Warn("the others may not have heard the goodbye, and will find out", "err", err)
	}
	a.stop()
	a.err = errors.Join(a.err, a.net.Close())
	a.watch.close()
	a.bus.close()
	a.wg.Wait()
	a.log.Info("peer stopped")
	a.logs.Close(aside.Patience)
}

// endLeases ends the leases that are held here, as Close says, and returns the ids of the tasks
// whose locks were among them.
func (a *Agent) endLeases(ctx context.Context) (tasks []string) {
	ctx, cancel := context.WithTimeoutCause(ctx, closeWait, fmt.Errorf("waited %v", closeWait))
	defer cancel()
	tasks = a.fleet.End()
	if err := a.locks.session.Close(ctx); err != nil {
		a.log.Warn("what is held here is not given back, for its holders have not stopped", "err", err)
	}
	return tasks
}

// withdraw ends the heartbeats of the workers of this peer, and deletes the records of its own
// worker and of tasks. claims are the last writes of the work queues.
func (a *Agent) withdraw(tasks []string, claims []crdt.Op) {
	a.mem.Do(func(r *replica.Replica, now time.Time) {
		ops := append(a.fleet.Farewell(r, now, tasks), claims...)
		for some := range slices.Chunk(ops, crdt.MaxOps) {
			if _, err := r.Write(now, true, some...); err != nil {
				a.log.Warn("cannot take back what this worker said of itself; it expires", "err", err)
			}
		}
	})
	a.mem.Signal()
}

// waitAllAcked waits, up to closeWait, until every peer that is up has acknowledged all writes made
// here.
func waitAllAcked(ctx context.Context, m *memory.Memory) error {
	nothing := false
	m.Do(func(r *replica.Replica, _ time.Time) { nothing = len(r.View().Living()) == 0 || r.Store().Last() == 0 })
	if nothing {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, closeWait)
	defer cancel()
	return waitReplicated(ctx, m, allLiving, nil)
}
