package transport

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/sentinel-peer/sentinel-peer/internal/envelope"
)

// Errors of ProbePackets.
var (
	// ErrNoPackets says that no packet reaches the peer, or no answer comes back.
	ErrNoPackets = errors.New("no packet passes: none is answered")
	// ErrOnlyAnswers says that packets reach the peer and its answers come back, but packets
	// that it sends unasked do not: a stateful firewall drops them.
	ErrOnlyAnswers = errors.New("packets pass to it, and only answers to them come back")
)

const (
	pingWait  = 400 * time.Millisecond // how long to wait for an answer
	pingTries = 3                      // how often to ask, since a packet may be lost
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
	there, err := newPinger(ctx, cfg, netip.AddrPortFrom(at.Addr(), 0), false)
	if err != nil {
		return err
	}
	defer there.close()
	back, err := newPinger(ctx, cfg, at, true)
	if err != nil {
		return err
	}
	defer back.close()
	answered := make(chan bool, 1)
	go func() { answered <- there.ask(ctx, to) }()
	switch unasked := back.ask(ctx, to); {
	case unasked:
		return nil
	case <-answered:
		return ErrOnlyAnswers
	}
	return cmp.Or(ctx.Err(), ErrNoPackets)
}

// An echo is 0xF9, the 4 B id of a key (0: none), 12 random bytes, and what they seal: the
// hash of the cluster, 1 for a question or 2 for an answer, 8 B that come back, and in a
// question the address where the answer is to go, if that is not its sender's. The answer
// is no longer than the question, so that nobody is flooded by echoes that are replayed.
const (
	echoQuestion byte = iota + 1
	echoAnswer

	echoHeader = 1 + keyIDBytes + 12
	echoBody   = clusterHashBytes + 1 + 8
)

// nobodys holds the zero marks from which the key of an echo is derived: an echo belongs to no life.
var nobodys [2 * envelope.MarkBytes]byte

func (e *envelopes) sealEcho(kind byte, token [8]byte, to []byte) ([]byte, error) {
	b := make([]byte, echoHeader, echoHeader+echoBody+len(to)+16)
	rand.Read(b[1:])
	b[0] = byteEcho
	body := slices.Concat(e.cluster[:], []byte{kind}, token[:], to)
	e.outMu.Lock()
	key := e.first
	e.outMu.Unlock()
	if key == nil {
		clear(b[1 : 1+keyIDBytes])
		return append(b, body...), nil
	}
	copy(b[1:], key.id[:])
	aead, err := key.pair(nobodys)
	if err != nil {
		return nil, err
	}
	return aead.Seal(b, b[1+keyIDBytes:echoHeader], body, b[:echoHeader]), nil
}

func (e *envelopes) openEcho(b []byte) (kind byte, token [8]byte, to []byte, why cause) {
	if len(b) < echoHeader+echoBody {
		return 0, token, nil, refuseMalformed
	}
	e.inMu.Lock()
	keys := e.keys
	e.inMu.Unlock()
	body, id := b[echoHeader:], keyID(b[1:])
	i := slices.IndexFunc(keys, func(k streamKey) bool { return k.id == id })
	switch {
	case i >= 0:
		aead, err := keys[i].pair(nobodys)
		if err == nil {
			body, err = aead.Open(nil, b[1+keyIDBytes:echoHeader], body, b[:echoHeader])
		}
		if err != nil || len(body) < echoBody {
			return 0, token, nil, refuseSeal
		}
	case len(keys) > 0 || id != keyID{}:
		return 0, token, nil, refuseKey
	}
	if [clusterHashBytes]byte(body) != e.cluster {
		return 0, token, nil, refuseCluster
	}
	body = body[clusterHashBytes:]
	return body[0], [8]byte(body[1:]), body[9:], causes
}

// answerEcho returns the answer to a question, and where it is to go if not to its sender.
func (e *envelopes) answerEcho(b []byte) (answer []byte, to string, why cause) {
	kind, token, where, why := e.openEcho(b)
	if why < causes || kind != echoQuestion {
		return nil, "", min(why, dropKind)
	}
	if len(where) > 0 {
		var at netip.AddrPort
		if at.UnmarshalBinary(where) != nil || !at.IsValid() {
			return nil, "", refuseMalformed
		}
		to = at.String()
	}
	answer, err := e.sealEcho(echoAnswer, token, nil)
	if err != nil {
		return nil, "", refuseKey
	}
	return answer, to, causes
}

// pinger asks by echoes.
type pinger struct {
	in, out   *net.UDPConn
	at        netip.AddrPort // where answers go; invalid if to where the question came from
	envelopes *envelopes
}

// newPinger listens at an address. If it is to take what a peer sends unasked, what it
// sends there leaves from another port.
func newPinger(ctx context.Context, cfg Config, at netip.AddrPort, unasked bool) (p *pinger, err error) {
	me, err := newIdentity(cfg.Cluster, "probe", cfg.Keys)
	if err != nil {
		return nil, fmt.Errorf("keys: %w", err)
	}
	p = &pinger{envelopes: newEnvelopes(me)}
	if p.in, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(at)); err != nil {
		return nil, err
	}
	p.out = p.in
	if unasked {
		if p.out, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(at.Addr(), 0))); err == nil {
			p.at, err = answered(ctx, cfg, p.in.LocalAddr().(*net.UDPAddr).AddrPort())
		}
	}
	if err != nil {
		p.close()
		return nil, err
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

// ask reports whether a question is answered.
func (p *pinger) ask(ctx context.Context, to netip.AddrPort) bool {
	for range pingTries {
		if p.tryOnce(ctx, to) || ctx.Err() != nil {
			return ctx.Err() == nil
		}
	}
	return false
}

func (p *pinger) tryOnce(ctx context.Context, to netip.AddrPort) bool {
	var token [8]byte
	rand.Read(token[:])
	var where []byte
	if p.at.IsValid() {
		where, _ = p.at.MarshalBinary()
	}
	question, err := p.envelopes.sealEcho(echoQuestion, token, where)
	if err != nil {
		return false
	}
	deadline := time.Now().Add(pingWait)
	if until, ok := ctx.Deadline(); ok && until.Before(deadline) {
		deadline = until
	}
	p.in.SetReadDeadline(deadline)
	if _, err := p.out.WriteToUDPAddrPort(question, to); err != nil {
		return false
	}
	for buf := make([]byte, 2048); ; {
		n, _, err := p.in.ReadFromUDPAddrPort(buf)
		if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() || errors.Is(err, net.ErrClosed) {
			return false
		}
		if err != nil {
			continue // the kernel says so that nobody listens there
		}
		if kind, back, _, why := p.envelopes.openEcho(buf[:n]); why == causes && kind == echoAnswer && back == token {
			return true
		}
	}
}

func (p *pinger) close() {
	p.in.Close()
	if p.out != nil {
		p.out.Close()
	}
}
