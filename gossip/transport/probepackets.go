package transport

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// Errors of ProbePackets.
var (
	// ErrNoPackets says that no packet passes to a peer, or no answer back.
	ErrNoPackets = errors.New("no packet passes: none is answered")
	// ErrOnlyAnswers says that packets pass to a peer, and its answers back, but none
	// that it sends unasked: what stops them knows connections.
	ErrOnlyAnswers = errors.New("packets pass to it, and only answers to them come back")
)

const (
	pingWait  = 400 * time.Millisecond // for an answer
	pingTries = 3                      // for a packet may be lost
)

// ProbePackets asks whether packets pass between cfg.Bind, where nobody may listen, and
// the peer at addr, which is ip:port, without becoming a member. Nil says that they do,
// both ways: an answer came to cfg.Bind to what another port had sent. It waits for at
// most 1.2 s.
func ProbePackets(ctx context.Context, addr string, cfg Config) error {
	cfg = cfg.withDefaults()
	to, err := netip.ParseAddrPort(addr)
	if err != nil {
		return err
	}
	at, err := resolve(ctx, cfg.Bind)
	if err != nil {
		return fmt.Errorf("bind %q: %w", cfg.Bind, err)
	}
	there, err := newPinger(ctx, cfg, netip.AddrPortFrom(at.Addr(), 0), netip.AddrPort{})
	if err != nil {
		return err
	}
	defer there.close()
	back, err := newPinger(ctx, cfg, at, to)
	if err != nil {
		return err
	}
	defer back.close()
	answers := make(chan error, 1)
	go func() { answers <- there.ping(ctx, to) }()
	unasked, err := back.ping(ctx, to), <-answers
	switch _, silence := errors.AsType[memberlist.NoPingResponseError](err); {
	case unasked == nil:
		return nil
	case err == nil:
		return ErrOnlyAnswers
	case silence:
		return ErrNoPackets
	}
	return err
}

// pinger is a network of packets only, with a memberlist on it that speaks as peers do
// and knows nobody, so that nobody comes to know it.
type pinger struct {
	list    *memberlist.Memberlist
	in, out *net.UDPConn
	at      netip.AddrPort // where answers go; with port 0 they go to where the question came from
	packets chan *memberlist.Packet
	closing chan struct{}
	wg      sync.WaitGroup
}

// newPinger listens at an address. If it is to take what a peer sends unasked, what it
// sends there leaves from another port.
func newPinger(ctx context.Context, cfg Config, at, unasked netip.AddrPort) (p *pinger, err error) {
	p = &pinger{at: netip.AddrPortFrom(at.Addr(), 0), packets: make(chan *memberlist.Packet), closing: make(chan struct{})}
	if p.in, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(at)); err != nil {
		return nil, err
	}
	p.out = p.in
	if unasked.IsValid() {
		if p.out, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(p.at)); err == nil {
			p.at, err = answered(ctx, cfg, p.in.LocalAddr().(*net.UDPAddr).AddrPort())
		}
	}
	if err == nil {
		p.wg.Go(p.receive)
		err = p.speak(cfg)
	}
	if err != nil {
		return nil, errors.Join(err, p.Shutdown())
	}
	return p, nil
}

// answered is where the others would reach who listens at an address.
func answered(ctx context.Context, cfg Config, at netip.AddrPort) (netip.AddrPort, error) {
	if cfg.Advertise != "" {
		return resolve(ctx, cfg.Advertise)
	}
	if !at.Addr().IsUnspecified() {
		return at, nil
	}
	own, err := ownAddr(at.Addr().Is4())
	return netip.AddrPortFrom(own, at.Port()), err
}

func (p *pinger) speak(cfg Config) error {
	c := memberlist.DefaultLANConfig()
	c.Name, c.Label, c.Transport = probed, cfg.Cluster, p
	c.Logger = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	c.EnableCompression = false
	c.UDPBufferSize = 1                                        // no room beside a ping for word of us
	c.GossipNodes, c.PushPullInterval = 0, 0                   // nor at any other time
	c.ProbeTimeout, c.ProbeInterval = pingWait, 10*time.Minute // only an answer within the time-out counts
	if len(cfg.Keys) > 0 {
		ring, err := memberlist.NewKeyring(cfg.Keys, cfg.Keys[0])
		if err != nil {
			return fmt.Errorf("keys: %w", err)
		}
		c.Keyring = ring
	}
	var err error
	p.list, err = memberlist.Create(c)
	return err
}

func (p *pinger) ping(ctx context.Context, to netip.AddrPort) (err error) {
	for range pingTries {
		if _, err = p.list.Ping("", net.UDPAddrFromAddrPort(to)); err == nil || ctx.Err() != nil {
			break
		}
	}
	return err
}

func (p *pinger) close() {
	_ = p.list.Shutdown() // it shuts us down, who have nothing to lose
	p.wg.Wait()
}

func (p *pinger) receive() {
	buf := make([]byte, 64<<10)
	for {
		n, from, err := p.in.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil || n == 0 {
			continue // that nobody listens there, the kernel says in such an error
		}
		packet := &memberlist.Packet{Buf: append([]byte(nil), buf[:n]...), From: net.UDPAddrFromAddrPort(from), Timestamp: time.Now()}
		select {
		case p.packets <- packet:
		case <-p.closing:
			return
		}
	}
}

func (p *pinger) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	return p.at.Addr().Unmap().AsSlice(), int(p.at.Port()), nil
}

func (p *pinger) WriteTo(b []byte, addr string) (time.Time, error) {
	return p.WriteToAddress(b, memberlist.Address{Addr: addr})
}

func (p *pinger) WriteToAddress(b []byte, to memberlist.Address) (time.Time, error) {
	ap, err := netip.ParseAddrPort(to.Addr)
	if err == nil {
		_, err = p.out.WriteToUDPAddrPort(b, ap)
	}
	return time.Now(), err
}

func (p *pinger) PacketCh() <-chan *memberlist.Packet { return p.packets }

// StreamCh returns a channel on which nothing comes: nobody can dial a pinger.
func (p *pinger) StreamCh() <-chan net.Conn { return nil }

func (p *pinger) DialTimeout(string, time.Duration) (net.Conn, error) { return nil, ErrUnknownPeer }

func (p *pinger) DialAddressTimeout(memberlist.Address, time.Duration) (net.Conn, error) {
	return nil, ErrUnknownPeer
}

func (p *pinger) Shutdown() error {
	close(p.closing)
	err := p.in.Close()
	if p.out != p.in && p.out != nil {
		err = errors.Join(err, p.out.Close())
	}
	return err
}
