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
	log    *slog.Logger // never the caller's handler itself
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
	logs   *aside.Queue // of log, on its way to the caller's handler

	routes atomic.Pointer[map[clock.Actor]string] // member ids
	closed chan struct{}                          // no more work
	ended  chan struct{}                          // Close is done
	stop   context.CancelFunc
	wg     sync.WaitGroup
	once   sync.Once
	err    error // of Close

	turning sync.Mutex // serialises SetKeys

	// What follows is guarded by the lock of mem.
	keyIDs   []string // short names of the keys in force, not changed in place
	refusals refusals
}

// Open starts a peer. It does not wait for others: WaitReady does. All faults of
// cfg are reported at once. ctx bounds the start only.
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
	err = a.begin(time.Now())
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

// begin makes the memory and what stands around it.
func (a *Agent) begin(now time.Time) (err error) {
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

// connect joins the network under a new member id.
func (a *Agent) connect(ctx context.Context) (err error) {
	var id [10]byte
	cryptorand.Read(id[:])
	a.roster.id = fmt.Sprintf("%012x%x", time.Now().UnixMilli(), id)
	if a.keyIDs, err = transport.KeyIDs(a.cfg.Cluster, a.cfg.Keys); err != nil {
		return errors.Join(err, a.locks.session.Close(ctx))
	}
	a.net, err = transport.Open(ctx, transport.Config{
		Cluster: a.cfg.Cluster, ID: a.roster.id, Meta: a.meta(),
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

func random() uint64 {
	var b [8]byte
	cryptorand.Read(b[:])
	return binary.BigEndian.Uint64(b[:])
}

// Name returns the worker's name.
func (a *Agent) Name() string { return a.cfg.Name }

// Addr returns the gossip address, host:port.
func (a *Agent) Addr() string { return a.net.LocalAddr() }

// SetKeys puts other keys in force, without a pause: see transport.Memberlist.SetKeys for
// the order in which a cluster changes its key. After an error the old keys stay.
func (a *Agent) SetKeys(keys [][]byte) error {
	if a.mem.Closed() {
		return ErrClosed
	}
	ids, err := transport.KeyIDs(a.cfg.Cluster, keys)
	if err != nil {
		return err
	}
	a.turning.Lock()
	defer a.turning.Unlock()
	if err := a.net.SetKeys(keys); err != nil {
		return err
	}
	a.mem.Do(func(*replica.Replica, time.Time) { a.keyIDs = ids })
	a.log.Info("keys in force", "ids", ids)
	return a.net.SetMeta(a.meta()) // what is told is in force
}

// Actor returns who this peer writes as.
func (a *Agent) Actor() (actor clock.Actor) {
	a.mem.Do(func(r *replica.Replica, _ time.Time) { actor = r.Actor() })
	return actor
}

// Tasks returns the tasks of the fleet.
func (a *Agent) Tasks() fleet.Tasks { return a.fleet.Tasks() }

// Agents returns what agents do in the tasks that they share.
func (a *Agent) Agents() fleet.Agents { return a.fleet.Agents() }

// Workers returns the workers of the fleet.
func (a *Agent) Workers() fleet.Workers { return a.fleet.Workers() }

// Queue returns the state of the fleet's queue as a scheduler keeps it. Items that are
// claimed are in work queues: see WorkQueue.
func (a *Agent) Queue() fleet.Queue { return a.fleet.Queue() }

// Unfinished returns which tasks failed, and which are in the hands of workers that are out
// of sight or gone, as far as this peer has heard.
func (a *Agent) Unfinished() (fleet.Unfinished, error) { return a.fleet.Unfinished() }

// WorkQueue returns a handle on the work queue of that name: one segment of a key, up to
// 64 bytes. It exists once something was enqueued.
func (a *Agent) WorkQueue(name string) workqueue.Queue { return a.queues.Queue(name) }

// WorkQueues returns the names of the work queues this peer knows, sorted.
func (a *Agent) WorkQueues() []string { return a.queues.Names() }

// Rules returns the rules in force.
func (a *Agent) Rules() *crdt.Rules { return a.rules }

// Close takes no more calls and ends the context of every lease and claim that is held
// here. It waits, up to three seconds and within ctx, until their holders have stopped:
// until they have called Unlock, or one of Complete, Fail and Release. What is given back
// so is free for others at once. The rest runs out, for its holder may still be at work. A
// lease or claim that is renewed by hand is neither waited for nor given back: it belongs
// to whoever has its name, and may go on at another peer.
//
// Then Close takes back what this peer's worker said of itself, and waits, up to three
// seconds and within ctx, until the peers that are up have acknowledged what was written
// here; then it says goodbye and stops: no goroutine is left. A *ReplicationError says who
// had not. Later calls return the same. Should the peer not have stopped five seconds
// after ctx, Close returns all the same.
func (a *Agent) Close(ctx context.Context) error {
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

// closeWait is how long Close waits for holders, and then for acknowledgements.
const closeWait = 3 * time.Second

// closeGrace is how long the stop itself may take: a probe that is under way ends
// within a second or so.
const closeGrace = 5 * time.Second

func (a *Agent) shutDown(ctx context.Context) {
	defer close(a.ended)
	a.bus.emit(LifecycleEvent{Type: Shutdown})
	a.mem.Close()
	a.queues.Close()
	a.retire(a.leaveLocks(ctx), a.queues.Retreat())
	a.err = a.flushOut(ctx)
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

// leaveLocks ends what is held here, see Close.
func (a *Agent) leaveLocks(ctx context.Context) (tasks []string) {
	ctx, cancel := context.WithTimeoutCause(ctx, closeWait, fmt.Errorf("waited %v", closeWait))
	defer cancel()
	tasks = a.fleet.End()
	if err := a.locks.session.Close(ctx); err != nil {
		a.log.Warn("what is held here is not given back, for its holders have not stopped", "err", err)
	}
	return tasks
}

// retire takes back what was said of this peer's workers, tasks and claims.
func (a *Agent) retire(tasks []string, claims []crdt.Op) {
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

// flushOut waits until every live peer has acknowledged all writes.
func (a *Agent) flushOut(ctx context.Context) error {
	nothing := false
	a.mem.Do(func(r *replica.Replica, _ time.Time) { nothing = len(r.View().Living()) == 0 || r.Store().Last() == 0 })
	if nothing {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, closeWait)
	defer cancel()
	return waitReplicated(ctx, a.mem, allLiving, nil)
}
