package transport

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/sentinel-peer/sentinel-peer/internal/aside"
	"github.com/sentinel-peer/sentinel-peer/internal/envelope"
)

// Memberlist is one member of a cluster: it knows the other members, sends frames to them and
// receives theirs. All methods are safe for concurrent use.
type Memberlist struct {
	cfg     Config
	log     *slog.Logger
	logs    *aside.Queue // queue between log and the handler of Config.Logger
	warn    *warnings
	me      *identity
	addr    string // gossip address of this peer
	list    *memberlist.Memberlist
	mux     *mux
	members *roster
	rejoin  *rejoin
	stats   counters
	meta    atomic.Pointer[[]byte]

	ctx    context.Context // done when Close begins
	cancel context.CancelFunc
	wg     sync.WaitGroup

	outMu sync.Mutex // guards out
	out   map[string]*outbound

	lifeMu  sync.Mutex // serialises Leave, Close, SetMeta and SetKeys; guards the fields below
	closed  bool
	left    bool
	leaving chan struct{} // closed when memberlist's Leave returned
}

// Open starts listening and looking for the cluster. It fails if the
// configuration is wrong or the address is taken; it does not fail, and does
// not wait, when no seed answers: that may change, so it logs and keeps trying.
// The context bounds the lookup of host names in Bind and Advertise.
func Open(ctx context.Context, cfg Config) (*Memberlist, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("transport: %w", err)
	}
	logger, logs := aside.Logger(cfg.Logger) // memberlist logs with its locks held
	m := &Memberlist{cfg: cfg, log: logger, logs: logs, warn: newWarnings(logger.Handler()), out: make(map[string]*outbound)}
	meta := append([]byte(nil), cfg.Meta...)
	m.meta.Store(&meta)
	var err error
	if m.me, err = newIdentity(cfg.Cluster, cfg.ID, cfg.Keys); err != nil {
		return nil, fmt.Errorf("transport: keys: %w", err)
	}
	network, err := m.network(ctx)
	if err != nil {
		return nil, fmt.Errorf("transport: %w", err)
	}
	if err := m.start(ctx, network); err != nil {
		return nil, fmt.Errorf("transport: %w", err)
	}
	return m, nil
}

// network returns the configured network, or opens sockets. Beyond loopback it requires a key and
// refuses Config.Faults.
func (m *Memberlist) network(ctx context.Context) (memberlist.NodeAwareTransport, error) {
	if m.cfg.Network != nil {
		return m.cfg.Network, nil
	}
	at, err := resolve(ctx, m.cfg.Bind)
	if err != nil {
		return nil, fmt.Errorf("bind %q: %w", m.cfg.Bind, err)
	}
	if !at.Addr().IsLoopback() {
		if len(m.cfg.Keys) == 0 {
			return nil, fmt.Errorf("bind %q: %w: set a key, or bind to 127.0.0.1", m.cfg.Bind, ErrPlaintextBind)
		}
		if m.cfg.Faults {
			return nil, fmt.Errorf("bind %q: %w", m.cfg.Bind, ErrFaultsBind)
		}
	}
	s, err := listen(at.Addr(), int(at.Port()), m.warn.on("sockets"))
	if err != nil {
		return nil, fmt.Errorf("bind %q: %w", m.cfg.Bind, err)
	}
	return s, nil
}

// start connects the parts and starts memberlist. It owns network, and shuts it down on an error.
func (m *Memberlist) start(ctx context.Context, network memberlist.NodeAwareTransport) error {
	m.ctx, m.cancel = context.WithCancel(context.Background())
	m.mux = newMux(network, m.me, m.cfg.HandshakeTimeout, &m.stats)
	m.mux.self = func() string { return m.addr }
	m.mux.serve, m.mux.take = m.serve, m.takePacket
	if m.cfg.Faults {
		m.mux.cuts = &cuts{addrs: make(map[string]struct{})}
	}
	conf, err := m.listConfig(ctx)
	if err == nil {
		// The address is set before memberlist starts, since a peer may dial at once.
		var ip net.IP
		var port int
		if ip, port, err = network.FinalAdvertiseAddr(conf.AdvertiseAddr, conf.AdvertisePort); err == nil {
			m.addr = addrOf(&memberlist.Node{Addr: ip, Port: uint16(port)})
			conf.BindPort = port
		}
	}
	if err != nil {
		m.cancel()
		return errors.Join(err, network.Shutdown())
	}
	m.rejoin = newRejoin(m)
	m.members = newRoster(m.cfg.ID)
	m.members.seen = m.rejoin.seen
	m.members.lost = func(id, addr string) {
		m.hangUpOn(id)
		m.rejoin.lost(id, addr)
	}
	m.members.left = m.rejoin.forget
	m.members.over = m.mux.envelopes.forget
	m.mux.named, m.mux.places.lives = m.members.at, m.members.lives
	conf.Events, conf.Conflict, conf.Alive = m.members, m.members, m.members
	m.mux.start()
	if m.list, err = memberlist.Create(conf); err != nil {
		m.cancel()
		return errors.Join(err, m.mux.Shutdown())
	}
	m.wg.Go(m.tell)
	m.wg.Go(m.rejoin.run)
	return nil
}

func (m *Memberlist) listConfig(ctx context.Context) (*memberlist.Config, error) {
	c := memberlist.DefaultLANConfig()
	c.Name = m.cfg.ID
	c.Transport, c.Delegate = m.mux, delegate{m}
	c.Logger = (&bridge{log: m.log, warn: m.warn, stats: &m.stats}).logger()
	c.EnableCompression = false                // frames are compressed already, and better than by LZW
	c.UDPBufferSize = 1400 - envelope.Overhead // below every common path limit
	c.HandoffQueueDepth = 8192                 // the default of 1,024 drops in a burst
	c.DeadNodeReclaimTime = time.Second        // an id that moved may be taken up at its new address
	c.TCPTimeout = m.cfg.HandshakeTimeout
	c.RetransmitMult = 8                  // of five members, the default of 4 leaves one in a hundred without a change until the next exchange
	c.PushPullInterval = 20 * time.Second // closes what gossip missed; a few hundred B/s at 50 members
	c.AdvertisePort = 0
	if m.cfg.Advertise != "" {
		ap, err := resolve(ctx, m.cfg.Advertise)
		if err != nil {
			return nil, fmt.Errorf("advertise %q: %w", m.cfg.Advertise, err)
		}
		if ap.Port() == 0 || ap.Addr().IsUnspecified() {
			return nil, fmt.Errorf("advertise %q: others cannot dial that; allowed is a concrete host:port", m.cfg.Advertise)
		}
		c.AdvertiseAddr, c.AdvertisePort = ap.Addr().String(), int(ap.Port())
	}
	return c, nil
}

// resolve turns host:port into an address, by name lookup if need be. An empty
// host means all addresses.
func resolve(ctx context.Context, hostport string) (netip.AddrPort, error) {
	host, service, err := net.SplitHostPort(hostport)
	if err != nil {
		return netip.AddrPort{}, err
	}
	port, err := strconv.ParseUint(service, 10, 16)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("port %q: allowed are 0 to 65535", service)
	}
	ip, err := netip.ParseAddr(cmp.Or(host, "0.0.0.0"))
	if err != nil {
		found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		if err != nil {
			return netip.AddrPort{}, err
		}
		ip = found[0]
		for _, f := range found { // of a name with both, peers most likely share IPv4
			if f.Unmap().Is4() {
				ip = f
				break
			}
		}
	}
	return netip.AddrPortFrom(ip.Unmap(), uint16(port)), nil
}

// tell calls OnMembers after changes.
func (m *Memberlist) tell() {
	for {
		select {
		case <-m.members.changed:
			if m.cfg.OnMembers != nil {
				m.cfg.OnMembers(m.members.list())
			}
		case <-m.ctx.Done():
			return
		}
	}
}

// Members returns every member, this peer included, sorted by id. Members that died or left stay
// listed for ten minutes. The slice belongs to the caller.
func (m *Memberlist) Members() []Member { return m.members.list() }

// LocalAddr returns the gossip address of this peer as others see it, host:port.
func (m *Memberlist) LocalAddr() string { return m.addr }

// SetMeta replaces Config.Meta. It copies meta and returns before the members have learnt it, which
// takes about a second, or, for a member that missed it, until one of the next exchanges,
// every 20 s. It fails with ErrTooLarge over MaxMetaBytes, and with ErrClosed.
func (m *Memberlist) SetMeta(meta []byte) error {
	if len(meta) > MaxMetaBytes {
		return fmt.Errorf("meta has %d bytes; allowed are up to %d: %w", len(meta), MaxMetaBytes, ErrTooLarge)
	}
	m.lifeMu.Lock()
	defer m.lifeMu.Unlock()
	if m.closed || m.left {
		return ErrClosed
	}
	meta = append([]byte(nil), meta...)
	m.meta.Store(&meta)
	// The change is queued at once. Only waiting until the last member was told would take
	// time, and only of that the error tells.
	_ = m.list.UpdateNode(time.Nanosecond)
	return nil
}

// Stats reads the counters.
func (m *Memberlist) Stats() Stats {
	s := m.stats.read()
	s.Missing, s.PartitionAge = m.rejoin.missing(time.Now())
	return s
}

// leaveTimeout bounds Leave if its context has no deadline, or a later one.
const leaveTimeout = 3 * time.Second

// Leave tells the members that this peer leaves on purpose, so that they neither suspect it nor
// look for it. It waits until ctx ends, and at most 3 s. Close is still needed.
func (m *Memberlist) Leave(ctx context.Context) error {
	m.lifeMu.Lock()
	defer m.lifeMu.Unlock()
	if m.closed {
		return ErrClosed
	}
	if m.left {
		return nil
	}
	m.left = true
	m.rejoin.stop()
	for _, p := range m.members.list() {
		if p.State == Alive && p.ID != m.cfg.ID {
			m.mux.send(memberlist.Address{Addr: p.Addr, Name: p.ID}, kindBye, []byte(m.cfg.ID)) // a member that misses it takes this peer for dead
		}
	}
	timeout := leaveTimeout
	if deadline, ok := ctx.Deadline(); ok {
		timeout = max(min(timeout, time.Until(deadline)), time.Nanosecond)
	}
	m.mux.leaving.Store(true)
	done := make(chan error, 1)
	m.leaving = make(chan struct{})
	m.wg.Go(func() {
		defer close(m.leaving)
		done <- m.list.Leave(timeout)
	})
	select {
	case err := <-done:
		if err != nil {
			return fmt.Errorf("leave: %w", err)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("leave: %w", ctx.Err())
	}
}

// Close stops everything at once, drops queued frames, and waits for all goroutines of this package.
// Unless Leave was called, the members notice the end only by their probes. Close may be called
// again. A probe of memberlist that was under way ends within about a second.
func (m *Memberlist) Close() error {
	m.lifeMu.Lock()
	defer m.lifeMu.Unlock()
	if m.closed {
		return nil
	}
	m.closed = true
	m.cancel()
	m.rejoin.stop()
	if m.leaving != nil {
		<-m.leaving // memberlist panics when Shutdown overtakes Leave
	}
	err := m.list.Shutdown()
	m.wg.Wait()
	m.logs.Close(aside.Patience)
	return err
}
