package lockservice

import (
	"fmt"
	"iter"
	"math"
	"time"

	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// Version is the wire version of packets. A packet is
//
//	[version, epoch, hash, [message, …]]
//
// with the epoch and the configuration hash of the sender. A message is an array of its kind
// and the fields that fieldsOf lists for that kind, in that order.
const Version = 1

// Limits of wire version 1.
const (
	maxPacketBytes    = 1 << 20
	maxPacketMessages = 4096
	splitBytes        = 128 << 10 // a packet that has reached this size is closed
	maxLockBytes      = MaxNameBytes + 4
	maxNodeBytes      = 128
	maxSupersedes     = 8
	maxHolders        = 256
)

type field uint8

const (
	fLock field = iota
	fInst
	fRound
	fToken
	fFloor
	fTTL
	fMode
	fFlags
	fWaited
	fReason
	fLeft
	fEpoch
	fHint
	fHolder
	fSupersedes
	fReachable
	fNeeded
	fWaiting
	fHolders
	fKnown
	fBundle
	fDigest
)

// fieldsOf lists the fields of each kind. It is the wire format: kinds may be appended, and the
// fields of a kind never change.
var fieldsOf = [kinds][]field{
	Acquire:     {fLock, fInst, fRound, fTTL, fMode, fFlags, fWaited},
	Renew:       {fLock, fInst, fRound, fTTL, fMode, fFlags, fToken, fBundle},
	Granted:     {fLock, fInst, fRound, fToken},
	Queued:      {fInst, fRound, fReason, fLeft, fHolder, fReachable, fNeeded},
	Contended:   {fInst, fRound, fReason, fLeft, fHolder, fEpoch},
	Redirect:    {fInst, fRound, fHint},
	Release:     {fLock, fInst, fFlags},
	Released:    {fInst},
	Accept:      {fLock, fInst, fRound, fToken, fTTL, fMode, fFlags, fSupersedes, fEpoch, fBundle},
	Ack:         {fLock, fInst, fRound, fToken, fEpoch},
	Nack:        {fLock, fInst, fRound, fToken, fFloor, fEpoch, fReason, fLeft, fHolder, fMode},
	Clear:       {fLock, fInst, fFlags},
	Cleared:     {fInst},
	Status:      {fLock, fRound},
	StatusReply: {fLock, fRound, fReason, fLeft, fFloor, fWaiting, fHolders},
	Known:       {fLock, fRound, fFlags, fHint, fWaiting},
	KnownReply:  {fLock, fRound, fReason, fKnown},
	Keep:        {fInst, fRound, fTTL, fDigest},
	Kept:        {fInst, fRound, fReason, fEpoch},
}

// appendMessage appends m. The result does not share memory with m.
func appendMessage(dst []byte, m *Message) []byte {
	list := fieldsOf[m.Kind]
	dst = wire.AppendArray(dst, 1+len(list))
	dst = wire.AppendUint(dst, uint64(m.Kind))
	for _, f := range list {
		switch f {
		case fLock:
			dst = wire.AppendStr(dst, m.Lock)
		case fInst:
			dst = appendInst(dst, m.Inst)
		case fRound:
			dst = wire.AppendUint(dst, m.Round)
		case fToken:
			dst = wire.AppendUint(dst, m.Token)
		case fFloor:
			dst = wire.AppendUint(dst, m.Floor)
		case fTTL:
			dst = appendDuration(dst, m.TTL)
		case fMode:
			dst = wire.AppendUint(dst, uint64(m.Mode))
		case fFlags:
			dst = wire.AppendUint(dst, uint64(m.Flags))
		case fWaited:
			dst = appendDuration(dst, m.Waited)
		case fReason:
			dst = wire.AppendUint(dst, uint64(m.Reason))
		case fLeft:
			dst = appendDuration(dst, m.Left)
		case fEpoch:
			dst = wire.AppendUint(dst, m.Epoch)
		case fHint:
			dst = wire.AppendStr(dst, m.Hint)
		case fHolder:
			dst = appendInst(dst, m.Holder)
		case fSupersedes:
			dst = wire.AppendArray(dst, len(m.Supersedes))
			for _, i := range m.Supersedes {
				dst = appendInst(dst, i)
			}
		case fReachable:
			dst = wire.AppendUint(dst, uint64(m.Reachable))
		case fNeeded:
			dst = wire.AppendUint(dst, uint64(m.Needed))
		case fWaiting:
			dst = wire.AppendUint(dst, uint64(m.Waiting))
		case fHolders:
			dst = appendHolders(dst, m.Holders)
		case fKnown:
			dst = appendKnown(dst, m.Known)
		case fBundle:
			dst = wire.AppendUint(dst, m.Bundle)
		case fDigest:
			dst = wire.AppendUint(dst, m.Digest)
		}
	}
	return dst
}

func appendDuration(dst []byte, d time.Duration) []byte {
	return wire.AppendUint(dst, uint64(max(d, 0)))
}

// appendInst appends [node, boot, n], or nil for the zero instance.
func appendInst(dst []byte, i Inst) []byte {
	if i == (Inst{}) {
		return wire.AppendNil(dst)
	}
	dst = wire.AppendArray(dst, 3)
	dst = wire.AppendStr(dst, i.Node)
	dst = wire.AppendBin(dst, i.Boot[:])
	return wire.AppendUint(dst, i.N)
}

func appendHolders(dst []byte, list []Holder) []byte {
	list = list[:min(len(list), maxHolders)]
	dst = wire.AppendArray(dst, 4*len(list))
	for _, h := range list {
		dst = appendInst(dst, h.Inst)
		dst = wire.AppendUint(dst, uint64(h.Mode))
		dst = wire.AppendUint(dst, h.Token)
		dst = appendDuration(dst, h.Left)
	}
	return dst
}

// appendKnown appends one array with the four elements lock, holders, clients and more for each
// entry; clients is an array with the six elements peer, name, mode, token, for and left for
// each client.
func appendKnown(dst []byte, list []known) []byte {
	dst = wire.AppendArray(dst, 4*len(list))
	for _, k := range list {
		dst = wire.AppendStr(dst, k.lock)
		dst = appendHolders(dst, k.holders)
		dst = wire.AppendArray(dst, 6*len(k.clients))
		for _, c := range k.clients {
			dst = wire.AppendStr(dst, c.Peer)
			dst = wire.AppendStr(dst, c.Name)
			dst = wire.AppendUint(dst, uint64(c.Mode))
			dst = wire.AppendUint(dst, c.Token)
			dst = appendDuration(dst, c.For)
			dst = appendDuration(dst, c.Left)
		}
		dst = wire.AppendUint(dst, uint64(k.more))
	}
	return dst
}

func appendHeader(dst []byte, epoch, hash uint64, count int) []byte {
	dst = wire.AppendArray(dst, 4)
	dst = wire.AppendUint(dst, Version)
	dst = wire.AppendUint(dst, epoch)
	dst = wire.AppendUint(dst, hash)
	return wire.AppendArray(dst, count)
}

// PacketError reports a packet that was refused. None of its messages had effect.
type PacketError struct {
	From string
	Err  error
}

// Error names the sender and what was wrong.
func (e *PacketError) Error() string {
	return fmt.Sprintf("lock packet from %q refused: %v", e.From, e.Err)
}

// Unwrap returns the cause.
func (e *PacketError) Unwrap() error { return e.Err }

// ReadPacket decodes a packet for tools that only look at it, such as traces. The messages share
// no memory with b.
func ReadPacket(b []byte) (epoch, hash uint64, messages []Message, err error) {
	return readPacket(b, func(b []byte) string { return string(b) }, nil)
}

// readPacket appends the messages of b to dst. The function name turns bytes into strings; one
// that returns known strings again saves memory. The messages share no memory with b.
func readPacket(b []byte, name func([]byte) string, dst []Message) (epoch, hash uint64, messages []Message, err error) {
	if len(b) > maxPacketBytes {
		return 0, 0, dst, fmt.Errorf("%d bytes; allowed are %d", len(b), maxPacketBytes)
	}
	if n, err := wire.Check(b, wire.Limits{Bytes: maxPacketBytes, Depth: 6}); err != nil {
		return 0, 0, dst, err
	} else if n != len(b) {
		return 0, 0, dst, &wire.Error{Reason: "trailing", Offset: n}
	}
	r := decoder{wire.NewReader(b), name}
	if r.ArrayLen() != 4 {
		r.Fail("packet")
	}
	if v := r.Uint(); r.Err() == nil && v != Version {
		return 0, 0, dst, fmt.Errorf("wire version %d; this peer speaks %d", v, Version)
	}
	epoch, hash = r.Uint(), r.Uint()
	n := r.ArrayLen()
	if n > maxPacketMessages {
		r.Fail("messages")
	}
	for i := 0; i < n && r.Err() == nil; i++ {
		dst = append(dst, Message{Epoch: epoch, Hash: hash}) // kinds with an epoch of their own overwrite it
		r.message(&dst[len(dst)-1])
	}
	return epoch, hash, dst, r.Err()
}

type decoder struct {
	wire.Reader
	name func([]byte) string
}

func (r *decoder) message(m *Message) {
	n := r.ArrayLen()
	kind := r.below(uint64(kinds), "kind")
	m.Kind = Kind(kind)
	if list := fieldsOf[kind]; kind == 0 || n != 1+len(list) {
		r.Fail("message")
	}
	for _, f := range fieldsOf[kind] {
		if r.Err() != nil {
			return
		}
		r.field(f, m)
	}
}

func (r *decoder) field(f field, m *Message) {
	switch f {
	case fLock:
		m.Lock = r.text(maxLockBytes, "lock")
	case fInst:
		if m.Inst = r.inst(); m.Inst.N == 0 {
			r.Fail("instance")
		}
	case fRound:
		m.Round = r.Uint()
	case fToken:
		m.Token = r.below(MaxToken+1, "token")
	case fFloor:
		m.Floor = r.below(MaxToken+1, "floor")
	case fTTL:
		m.TTL = r.duration()
	case fMode:
		m.Mode = Mode(r.below(uint64(Shared)+1, "mode"))
	case fFlags:
		m.Flags = uint8(r.below(1<<flags, "flags"))
	case fWaited:
		m.Waited = r.duration()
	case fReason:
		m.Reason = Reason(r.below(uint64(reasons), "reason"))
	case fLeft:
		m.Left = r.duration()
	case fEpoch:
		m.Epoch = r.Uint()
	case fHint:
		m.Hint = r.text(maxNodeBytes, "hint")
	case fHolder:
		m.Holder = r.inst()
	case fSupersedes:
		n := r.ArrayLen()
		if n > maxSupersedes {
			r.Fail("supersedes")
		}
		for i := 0; i < n && r.Err() == nil; i++ {
			m.Supersedes = append(m.Supersedes, r.inst())
		}
	case fReachable:
		m.Reachable = int(r.below(MaxVoters+1, "reachable"))
	case fNeeded:
		m.Needed = int(r.below(MaxVoters+1, "needed"))
	case fWaiting:
		m.Waiting = int(r.below(math.MaxInt32, "waiting"))
	case fHolders:
		m.Holders = r.holders()
	case fKnown:
		m.Known = r.known()
	case fBundle:
		m.Bundle = r.Uint()
	case fDigest:
		m.Digest = r.Uint()
	}
}

func (r *decoder) holders() (list []Holder) {
	for range r.groups(4, maxHolders, "holders") {
		list = append(list, Holder{
			Inst:  r.inst(),
			Mode:  Mode(r.below(uint64(Shared)+1, "mode")),
			Token: r.below(MaxToken+1, "token"),
			Left:  r.duration(),
		})
	}
	return list
}

func (r *decoder) known() (list []known) {
	for range r.groups(4, MaxPage, "locks") {
		list = append(list, known{
			lock:    r.text(maxLockBytes, "lock"),
			holders: r.holders(),
			clients: r.clients(),
			more:    int(r.below(math.MaxInt32, "more")),
		})
	}
	return list
}

func (r *decoder) clients() (list []Client) {
	for range r.groups(6, maxListed, "clients") {
		c := Client{
			Peer:  r.text(maxNodeBytes, "peer"),
			Name:  r.text(MaxClientBytes, "client"),
			Mode:  Mode(r.below(uint64(Shared)+1, "mode")),
			Token: r.below(MaxToken+1, "token"),
			For:   r.duration(),
			Left:  r.duration(),
		}
		if !isClient(c.Name) {
			r.Fail("client")
		}
		list = append(list, c)
	}
	return list
}

// groups reads the header of an array that holds up to most groups of the given number of
// values, and yields once for each group. The loop reads the values.
func (r *decoder) groups(values, most int, what string) iter.Seq[int] {
	n := r.ArrayLen()
	if n%values != 0 || n/values > most {
		r.Fail(what)
	}
	return func(yield func(int) bool) {
		for i := 0; i < n/values && r.Err() == nil; i++ {
			if !yield(i) {
				return
			}
		}
	}
}

func (r *decoder) inst() (i Inst) {
	if r.Nil() {
		return i
	}
	if r.ArrayLen() != 3 {
		r.Fail("instance")
	}
	i.Node = r.text(maxNodeBytes, "node")
	if b := r.Bin(); len(b) == len(i.Boot) {
		copy(i.Boot[:], b)
	} else {
		r.Fail("boot")
	}
	if i.N = r.Uint(); i.N == 0 || i.Node == "" {
		r.Fail("instance")
	}
	return i
}

func (r *decoder) text(most int, what string) string {
	b := r.Str()
	if len(b) > most {
		r.Fail(what)
		return ""
	}
	return r.name(b)
}

// maxDuration bounds durations on the wire. It is far above every limit of a configuration, and
// sums of a few of them do not overflow.
const maxDuration = 366 * 24 * time.Hour

func (r *decoder) duration() time.Duration {
	return time.Duration(r.below(uint64(maxDuration)+1, "duration"))
}

// below reads a number less than limit.
func (r *decoder) below(limit uint64, what string) uint64 {
	n := r.Uint()
	if n >= limit {
		r.Fail(what)
		return 0
	}
	return n
}
