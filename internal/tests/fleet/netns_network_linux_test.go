package fleet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"runtime"
	"syscall"
	"testing"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// namespace is a network namespace. One thread holds it, and it ends with the thread, so
// that even a test that panics leaves nothing behind.
type namespace struct {
	handle netns.NsHandle
	work   chan func()
}

func newNamespace() (*namespace, error) {
	n := &namespace{work: make(chan func())}
	made := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked, so that the thread ends with the goroutine
		var err error
		n.handle, err = netns.New()
		made <- err
		for do := range n.work {
			do()
		}
	}()
	if err := <-made; err != nil {
		close(n.work)
		return nil, fmt.Errorf("a new network namespace: %w", err)
	}
	return n, nil
}

// do runs f on the thread of the namespace. The sockets and processes that f makes belong
// to the namespace.
func (n *namespace) do(f func() error) error {
	done := make(chan error)
	n.work <- func() { done <- f() }
	return <-done
}

func (n *namespace) close() {
	close(n.work)
	n.handle.Close()
}

func (n *namespace) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	var conn net.Conn
	err := n.do(func() (err error) {
		conn, err = new(net.Dialer).DialContext(ctx, network, addr)
		return err
	})
	return conn, err
}

// serve gives an HTTP server inside the namespace an address outside.
func (n *namespace) serve(t *testing.T, addr string) string {
	s := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(&url.URL{Scheme: "http", Host: addr}) },
		// A connection kept from before a kill would fail a request after it.
		Transport: &http.Transport{DialContext: n.dial, DisableKeepAlives: true},
		ErrorLog:  log.New(io.Discard, "", 0),
	})
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// network joins namespaces by a bridge, whose ports have the names of the peers.
type network struct {
	hub   *namespace
	homes map[string]*namespace
	nft   *nftables.Conn
	chain *nftables.Chain
}

// newNetwork makes a network of peers with these addresses, or skips the test
// where that is not allowed.
func newNetwork(t *testing.T, addrs map[string][]string) *network {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIP: network namespaces need root")
	}
	n := &network{homes: map[string]*namespace{}}
	err := n.build(t, addrs)
	for _, refusal := range []error{syscall.EPERM, syscall.EACCES, syscall.ENOSYS, syscall.ENOENT,
		syscall.EOPNOTSUPP, syscall.EAFNOSUPPORT, syscall.EPROTONOSUPPORT} {
		if errors.Is(err, refusal) {
			t.Skipf("SKIP: this kernel refuses %v", err)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func (n *network) build(t *testing.T, addrs map[string][]string) (err error) {
	space := func() (*namespace, error) {
		s, err := newNamespace()
		if err == nil {
			t.Cleanup(s.close)
		}
		return s, err
	}
	if n.hub, err = space(); err != nil {
		return err
	}
	links, err := netlink.NewHandleAt(n.hub.handle)
	if err != nil {
		return err
	}
	defer links.Close()
	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "hub"}}
	if err := errors.Join(links.LinkAdd(bridge), links.LinkSetUp(bridge)); err != nil {
		return fmt.Errorf("a bridge: %w", err)
	}
	for name, own := range addrs {
		home, err := space()
		if err != nil {
			return err
		}
		n.homes[name] = home
		port := &netlink.Veth{
			LinkAttrs: netlink.LinkAttrs{Name: name, MasterIndex: bridge.Index},
			PeerName:  "eth0", PeerNamespace: netlink.NsFd(home.handle),
		}
		if err := errors.Join(links.LinkAdd(port), links.LinkSetUp(port), home.plug(own)); err != nil {
			return fmt.Errorf("the cable of %s: %w", name, err)
		}
	}
	return n.filter()
}

// plug gives the namespace its addresses, and a loopback.
func (n *namespace) plug(addrs []string) error {
	links, err := netlink.NewHandleAt(n.handle)
	if err != nil {
		return err
	}
	defer links.Close()
	cable, err := links.LinkByName("eth0")
	if err != nil {
		return err
	}
	loopback, err := links.LinkByName("lo")
	if err != nil {
		return err
	}
	for _, addr := range addrs {
		ip, err := netlink.ParseAddr(addr)
		if err != nil {
			return err
		}
		ip.Flags = unix.IFA_F_NODAD // nobody else has it, and it is wanted at once
		if err := links.AddrAdd(cable, ip); err != nil {
			return err
		}
	}
	return errors.Join(links.LinkSetUp(cable), links.LinkSetUp(loopback))
}

// filter puts a chain without rules into the path through the bridge.
func (n *network) filter() (err error) {
	if n.nft, err = nftables.New(nftables.WithNetNSFd(int(n.hub.handle))); err != nil {
		return fmt.Errorf("nftables: %w", err)
	}
	table := n.nft.AddTable(&nftables.Table{Name: "faults", Family: nftables.TableFamilyBridge})
	n.chain = n.nft.AddChain(&nftables.Chain{
		Name: "forward", Table: table, Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookForward, Priority: nftables.ChainPriorityFilter,
	})
	// Both kinds of rules are set now, so that the test is skipped on a kernel without
	// them.
	if err := errors.Join(n.cut([]string{"a"}, []string{"b"}), n.lose(5), n.heal()); err != nil {
		return fmt.Errorf("nftables: %w", err)
	}
	return nil
}

// cut drops all frames from one side to the other, and none in the other direction.
func (n *network) cut(from, to []string) error {
	for _, a := range from {
		for _, b := range to {
			n.drop(
				&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1}, is(port(a)),
				&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 1}, is(port(b)),
			)
		}
	}
	return n.nft.Flush()
}

// cutPackets drops UDP from one peer to the other. TCP passes.
func (n *network) cutPackets(from, to string) error {
	n.drop(
		&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1}, is(port(from)),
		&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 1}, is(port(to)),
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}, is([]byte{unix.IPPROTO_UDP}),
	)
	return n.nft.Flush()
}

// lose drops one packet in so many, at random.
func (n *network) lose(oneOf uint32) error {
	n.drop(&expr.Numgen{Register: 1, Type: unix.NFT_NG_RANDOM, Modulus: oneOf}, is(make([]byte, 4)))
	return n.nft.Flush()
}

func (n *network) heal() error {
	n.nft.FlushChain(n.chain)
	return n.nft.Flush()
}

func (n *network) drop(match ...expr.Any) {
	match = append(match, &expr.Counter{}, &expr.Verdict{Kind: expr.VerdictDrop})
	n.nft.AddRule(&nftables.Rule{Table: n.chain.Table, Chain: n.chain, Exprs: match})
}

// lost counts the packets that were dropped since the last heal.
func (n *network) lost() (packets uint64, err error) {
	rules, err := n.nft.GetRules(n.chain.Table, n.chain)
	for _, r := range rules {
		for _, e := range r.Exprs {
			if c, ok := e.(*expr.Counter); ok {
				packets += c.Packets
			}
		}
	}
	return packets, err
}

func is(data []byte) expr.Any { return &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: data} }

// port is the name of a port as the kernel compares it.
func port(name string) []byte {
	b := make([]byte, unix.IFNAMSIZ)
	copy(b, name)
	return b
}
