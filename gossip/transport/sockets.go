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

// sockets is the real network: UDP and TCP on one port.
//
// It replaces memberlist.NetTransport, which allocates 64 KiB for each datagram, however
// short, and parses the address anew for each datagram that it sends.
type sockets struct {
	tcp     *net.TCPListener
	udp     *net.UDPConn
	packets chan *memberlist.Packet
	streams chan net.Conn
	dialer  net.Dialer
	log     *slog.Logger

	ctx  context.Context // done when Shutdown begins; ends dials under way
	stop context.CancelFunc
	wg   sync.WaitGroup
}

var _ memberlist.NodeAwareTransport = (*sockets)(nil)

// listen opens both sockets. With port 0 the kernel picks one for TCP that may
// be taken for UDP, so it is asked a few times.
func listen(ip netip.Addr, port int, log *slog.Logger) (*sockets, error) {
	tries := 1
	if port == 0 {
		tries = 16
	}
	var err error
	for range tries {
		var s *sockets
		if s, err = listenOnce(netip.AddrPortFrom(ip, uint16(port)), log); err == nil {
			return s, nil
		}
	}
	return nil, err
}

func listenOnce(at netip.AddrPort, log *slog.Logger) (*sockets, error) {
	tcp, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(at))
	if err != nil {
		return nil, err
	}
	at = netip.AddrPortFrom(at.Addr(), tcp.Addr().(*net.TCPAddr).AddrPort().Port())
	udp, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
	if err != nil {
		tcp.Close()
		return nil, err
	}
	for size := 4 << 20; size > 64<<10; size /= 2 {
		if udp.SetReadBuffer(size) == nil {
			break
		}
	}
	s := &sockets{
		tcp: tcp, udp: udp, log: log,
		packets: make(chan *memberlist.Packet, 64), // a short burst while memberlist handles one; then the kernel's buffer
		streams: make(chan net.Conn),
	}
	s.ctx, s.stop = context.WithCancel(context.Background())
	s.wg.Go(s.receive)
	s.wg.Go(s.accept)
	return s, nil
}

func (s *sockets) port() int { return s.tcp.Addr().(*net.TCPAddr).Port }

func (s *sockets) FinalAdvertiseAddr(ip string, port int) (net.IP, int, error) {
	if ip != "" {
		a, err := netip.ParseAddr(ip)
		if err != nil {
			return nil, 0, fmt.Errorf("advertise %q: not an IP address", ip)
		}
		return a.Unmap().AsSlice(), port, nil
	}
	bound := s.tcp.Addr().(*net.TCPAddr).AddrPort().Addr().Unmap()
	if bound.IsUnspecified() {
		var err error
		if bound, err = ownAddr(bound.Is4()); err != nil {
			return nil, 0, err
		}
	}
	return bound.AsSlice(), s.port(), nil
}

// ownAddr picks the address to advertise when the transport listens on all addresses: that of the
// default route, since bridges of containers may precede it in the list of interfaces.
// Without a default route it is the first one of the best kind, see firstAddr.
func ownAddr(only4 bool) (netip.Addr, error) {
	if ip := routed("udp4", "192.0.2.1:9"); ip.IsValid() {
		return ip, nil
	}
	if ip := routed("udp6", "[2001:db8::1]:9"); ip.IsValid() && !only4 {
		return ip, nil
	}
	return firstAddr(only4)
}

// routed returns the local address from which packets to another address would leave; it sends none.
// It returns the zero Addr if there is no route, or the address is only this machine's.
func routed(network, to string) netip.Addr {
	conn, err := net.Dial(network, to)
	if err != nil {
		return netip.Addr{}
	}
	defer conn.Close()
	ip := conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap()
	if !ip.IsGlobalUnicast() {
		return netip.Addr{}
	}
	return ip
}

// firstAddr returns the first address of the best kind among the interfaces: private IPv4, other
// IPv4, private IPv6, other IPv6.
func firstAddr(only4 bool) (netip.Addr, error) {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return netip.Addr{}, fmt.Errorf("own addresses: %w", err)
	}
	var best netip.Addr
	rank := 0
	for _, a := range all {
		p, err := netip.ParsePrefix(a.String())
		if err != nil {
			continue
		}
		ip, r := p.Addr().Unmap(), 0
		switch {
		case only4 && !ip.Is4(), !ip.IsGlobalUnicast():
		case ip.Is4() && ip.IsPrivate():
			r = 4
		case ip.Is4():
			r = 3
		case ip.IsPrivate():
			r = 2
		default:
			r = 1
		}
		if r > rank {
			best, rank = ip, r
		}
	}
	if rank == 0 {
		return best, errors.New("listening on all addresses, but none is reachable from outside: say by Advertise (--advertise) which one others dial")
	}
	return best, nil
}

func (s *sockets) WriteTo(b []byte, addr string) (time.Time, error) {
	return s.WriteToAddress(b, memberlist.Address{Addr: addr})
}

func (s *sockets) WriteToAddress(b []byte, to memberlist.Address) (time.Time, error) {
	ap, err := netip.ParseAddrPort(to.Addr)
	if err != nil {
		return time.Time{}, err
	}
	_, err = s.udp.WriteToUDPAddrPort(b, ap)
	return time.Now(), err
}

func (s *sockets) PacketCh() <-chan *memberlist.Packet { return s.packets }
func (s *sockets) StreamCh() <-chan net.Conn           { return s.streams }

func (s *sockets) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	return s.DialAddressTimeout(memberlist.Address{Addr: addr}, timeout)
}

func (s *sockets) DialAddressTimeout(to memberlist.Address, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(s.ctx, timeout)
	defer cancel()
	return s.dialer.DialContext(ctx, "tcp", to.Addr)
}

func (s *sockets) Shutdown() error {
	s.stop()
	err := errors.Join(s.tcp.Close(), s.udp.Close())
	s.wg.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// maxSources bounds the cache of sender addresses.
const maxSources = 4096

// receive reads datagrams into one buffer and passes on copies of their exact size, so that a frame
// which is kept for long holds no more memory than its own bytes.
func (s *sockets) receive() {
	buf := make([]byte, 64<<10)
	sources := make(map[netip.AddrPort]*net.UDPAddr)
	for {
		n, ap, err := s.udp.ReadFromUDPAddrPort(buf)
		if err != nil {
			if !s.pause(err) {
				return
			}
			continue
		}
		if n == 0 {
			continue
		}
		ap = netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
		from := sources[ap]
		if from == nil {
			if len(sources) >= maxSources {
				clear(sources)
			}
			from = net.UDPAddrFromAddrPort(ap)
			sources[ap] = from
		}
		p := &memberlist.Packet{Buf: append([]byte(nil), buf[:n]...), From: from, Timestamp: time.Now()}
		select {
		case s.packets <- p:
		case <-s.ctx.Done():
			return
		}
	}
}

func (s *sockets) accept() {
	for {
		conn, err := s.tcp.AcceptTCP()
		if err != nil {
			if !s.pause(err) {
				return
			}
			continue
		}
		select {
		case s.streams <- conn:
		case <-s.ctx.Done():
			conn.Close()
			return
		}
	}
}

// pause waits a little after a failed read or accept (out of file descriptors,
// say) and reports whether to go on.
func (s *sockets) pause(err error) bool {
	if s.ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
		return false
	}
	s.log.Warn("socket", "err", err)
	select {
	case <-time.After(50 * time.Millisecond):
		return true
	case <-s.ctx.Done():
		return false
	}
}
