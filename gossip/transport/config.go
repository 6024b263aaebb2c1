package transport

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/memberlist"
)

// Limits of what this package carries. They are constants because two peers
// must agree on them.
const (
	// MaxPacketBytes is the longest frame SendPacket takes. With the envelope and the
	// IP and UDP headers it stays under the common 1,400 byte path limit, so a
	// packet is never split by the network.
	MaxPacketBytes = 1100

	// MaxFrameBytes is the longest frame SendStream takes and the longest one
	// a receiver assembles: 8 MiB of content and room for its envelope.
	MaxFrameBytes = 8<<20 + 64<<10

	// MaxMetaBytes is the longest Config.Meta.
	MaxMetaBytes = 400

	// MaxNameBytes is the longest Config.Cluster and the longest Config.ID.
	MaxNameBytes = 64

	// MaxKeys is the longest Config.Keys.
	MaxKeys = 8
)

// Errors a caller decides on.
var (
	// ErrPlaintextBind says that Open was asked to listen beyond loopback
	// without a key.
	ErrPlaintextBind = errors.New("refusing to gossip in plain text beyond loopback")
	// ErrFaultsBind says that Open was asked to allow Cut beyond loopback.
	ErrFaultsBind = errors.New("refusing to allow fault injection beyond loopback")
	// ErrUnknownPeer says that no living member has the id.
	ErrUnknownPeer = errors.New("no living member has this id")
	// ErrTooLarge says that a frame or a meta is over its limit.
	ErrTooLarge = errors.New("too large")
	// ErrQueueFull says that a peer takes frames more slowly than this one makes them: its
	// lane holds Config.QueueBytes already. The frame was dropped.
	ErrQueueFull = errors.New("stream queue is full")
	// ErrClosed says that Close or Leave was called before.
	ErrClosed = errors.New("transport is closed")
	// ErrFaultsOff says that Cut needs Config.Faults.
	ErrFaultsOff = errors.New("fault injection is off")
)

// Path says how a frame arrived.
type Path uint8

const (
	Packet Path = iota + 1 // one datagram: unordered, may be lost or doubled
	Stream                 // a peer stream: ordered per lane while it lives
)

func (p Path) String() string {
	if p == Packet {
		return "packet"
	}
	return "stream"
}

// Config configures a transport. Cluster, ID and Inbox are mandatory; every other field has a
// default for its zero value.
type Config struct {
	Cluster   string   // name of the cluster, 1 to 64 bytes; peers of another cluster are refused
	ID        string   // member id of this peer, 1 to 64 bytes, unique, new at each start and greater than before
	Meta      []byte   // up to 400 bytes that every member learns about this peer
	Bind      string   // host:port to listen on; port 0 takes any free one; default 127.0.0.1:7946
	Advertise string   // host:port at which the other peers reach this one; default: the address that it listens on
	Seeds     []string // host or host:port of peers to join; names are resolved anew at each try
	Keys      [][]byte // up to MaxKeys of 16, 24 or 32 bytes each; the first seals, every one opens; see SetKeys

	// Inbox is called with each frame that arrives. The frame belongs to the callee. Several
	// goroutines call it at once, and memberlist waits for some of them, so it must only
	// enqueue and return. The first call may come before Open returns; none comes after
	// Close has returned.
	Inbox func(frame []byte, via Path)

	// Locks, if set, is called with messages of SendLock and the id of the member that sent
	// them; messages that arrive together come in one call. The messages belong to the
	// callee. Like Inbox it must not wait; it may send.
	Locks func(from string, messages [][]byte)

	// OnMembers, if set, is called with the whole list of members after changes, this peer
	// included, sorted by id. There is one call at a time, and one call may cover several
	// changes. Close waits for it to return.
	OnMembers func([]Member)

	Logger  *slog.Logger // default: discard
	Network Network      // default: real sockets on Bind; Close shuts it down
	Faults  bool         // allow Cut; for development, on loopback only

	QueueBytes       int           // bound of the frames that wait for one peer in one lane; default 8 MiB; a single frame always fits
	StreamIdle       time.Duration // time after which an unused outgoing stream is closed; default 5 min
	HandshakeTimeout time.Duration // bound of dialling, and of a whole handshake; default 5 s
	WriteTimeout     time.Duration // bound of one write to a stream, after which it is closed; default 10 s
	RejoinMin        time.Duration // first pause between tries to reach a lost peer; default 1 s
	RejoinMax        time.Duration // longest pause between tries to reach a lost peer; default 15 s
}

const defaultPort = 7946

func (c Config) withDefaults() Config {
	if c.Bind == "" {
		c.Bind = net.JoinHostPort("127.0.0.1", fmt.Sprint(defaultPort))
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.QueueBytes = cmp.Or(c.QueueBytes, 8<<20)
	c.StreamIdle = cmp.Or(c.StreamIdle, 5*time.Minute)
	c.HandshakeTimeout = cmp.Or(c.HandshakeTimeout, 5*time.Second)
	c.WriteTimeout = cmp.Or(c.WriteTimeout, 10*time.Second)
	c.RejoinMin = cmp.Or(c.RejoinMin, time.Second)
	c.RejoinMax = max(cmp.Or(c.RejoinMax, 15*time.Second), c.RejoinMin)
	return c
}

func (c Config) validate() error {
	var all []error
	name := func(field, v string) {
		if v == "" || len(v) > MaxNameBytes {
			all = append(all, fmt.Errorf("field %s has %d bytes; allowed are 1 to %d", field, len(v), MaxNameBytes))
		}
	}
	name("Cluster", c.Cluster)
	name("ID", c.ID)
	if len(c.Meta) > MaxMetaBytes {
		all = append(all, fmt.Errorf("field Meta has %d bytes; allowed are up to %d: %w", len(c.Meta), MaxMetaBytes, ErrTooLarge))
	}
	if err := validateKeys(c.Keys); err != nil {
		all = append(all, err)
	}
	if c.QueueBytes < 0 {
		all = append(all, fmt.Errorf("field QueueBytes is %d; it may not be negative", c.QueueBytes))
	}
	for field, d := range map[string]time.Duration{"StreamIdle": c.StreamIdle, "HandshakeTimeout": c.HandshakeTimeout,
		"WriteTimeout": c.WriteTimeout, "RejoinMin": c.RejoinMin, "RejoinMax": c.RejoinMax} {
		if d < 0 {
			all = append(all, fmt.Errorf("field %s is %v; it may not be negative", field, d))
		}
	}
	if c.Inbox == nil {
		all = append(all, errors.New("field Inbox is missing: it takes the frames that arrive"))
	}
	for i, s := range c.Seeds {
		if strings.TrimSpace(s) == "" {
			all = append(all, fmt.Errorf("field Seeds[%d] is empty; allowed are host and host:port", i))
		}
	}
	return errors.Join(all...)
}

func validateKeys(keys [][]byte) error {
	var all []error
	if len(keys) > MaxKeys {
		all = append(all, fmt.Errorf("field Keys has %d; allowed are up to %d", len(keys), MaxKeys))
	}
	for i, k := range keys {
		if memberlist.ValidateKey(k) != nil {
			all = append(all, fmt.Errorf("field Keys[%d] has %d bytes; allowed are 16, 24 and 32", i, len(k)))
		}
		if slices.ContainsFunc(keys[:i], func(o []byte) bool { return bytes.Equal(o, k) }) {
			all = append(all, fmt.Errorf("field Keys[%d] is there twice", i))
		}
	}
	return errors.Join(all...)
}

// Network carries memberlist's packets and streams: real sockets, or one in memory
// (memnet) for tests.
type Network = memberlist.NodeAwareTransport
