package gossip

import (
	"fmt"
	"time"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// Version is the wire version of frames. A frame is the msgpack array
//
//	[version, flags, cluster hash, [section, …]]
//
// If a compression flag is set, a bin with the compressed sections takes their place. A section is
// an array that starts with its kind. The first section lists the actors of the frame, the
// sender first; elsewhere an actor is its index in that list (docs/protocol.md).
const Version = 1

const (
	flagS2 = 1 << iota
	flagZstd
)

// Section kinds. A frame with an unknown kind from firstCritical to lastCritical is refused. Sections of
// other unknown kinds are skipped.
const (
	secActors      = iota // [kind, actor, …]
	secDeltas             // [kind, deltas of one actor]: to be forwarded down the tree
	secHeads              // [kind, wants ack, actor, seq, …]
	secAcks               // [kind, actor, seq, …]
	secGaps               // [kind, actor, first, last, …]
	secDigest             // [kind, echo, state hash, wall ms, rules, latest timestamp, members hash]
	secSyncRequest        // [kind, request, partial, sum, context, last request whose answer came, parts, the sender's clock then]
	secState              // [kind, deltas of one actor]: part of a sync, forwarded if there are few
	secSyncReply          // [kind, request, more, have, total, latest timestamp, context?], after the states
	secSums               // [kind, context hash, 256 sums]
	secRanges             // [kind, context hash, shards, from, to, count, sum, …]
	secLists              // [kind, context hash, shards, wants answer, from, to, [actor, seq, share, …], …]; a share is the hash of one record
	secLocks              // reserved for the lock service
	secBeats              // [kind, worker, remaining ms, …]: leases of the sender's workers
	secPath               // [kind, number, asks, seen, passage]: a probe, an answer to one, or both
	secParts              // [kind, request, parts]: the hashes in the request were not understood

	firstCritical = 64
	lastCritical  = 127
)

var sectionNames = [...]string{"actors", "deltas", "heads", "acks", "gaps", "digest", "sync-request", "state", "sync-reply", "sums", "ranges", "lists", "locks", "beats", "path", "parts"}

// SectionName returns the name of a kind of section, "" if the kind is not known.
func SectionName(kind uint64) string {
	if kind < uint64(len(sectionNames)) {
		return sectionNames[kind]
	}
	return ""
}

// FrameError reports a frame that was refused.
type FrameError struct {
	Reason string // stable: too-large, malformed, version, cluster, critical-section, decompress
	Err    error
}

// Error names the reason.
func (e *FrameError) Error() string {
	if e.Err == nil {
		return "frame refused: " + e.Reason
	}
	return fmt.Sprintf("frame refused: %s: %v", e.Reason, e.Err)
}

// Unwrap returns the cause.
func (e *FrameError) Unwrap() error { return e.Err }

// frameWriter builds one frame. It numbers actors as they come up, so the table of actors is
// complete, and written, after the other sections.
type frameWriter struct {
	table    crdt.ActorTable
	body     []byte
	sections int
	payload  []byte
}

// section starts a section with n elements after its kind.
func (w *frameWriter) section(kind uint64, n int) {
	w.body = wire.AppendArray(w.body, n+1)
	w.body = wire.AppendUint(w.body, kind)
	w.sections++
}

func (w *frameWriter) uint(n uint64)       { w.body = wire.AppendUint(w.body, n) }
func (w *frameWriter) actor(a clock.Actor) { w.uint(uint64(w.table.Index(a))) }
func (w *frameWriter) bool(v bool)         { w.body = wire.AppendBool(w.body, v) }

// deltas writes a section of deltas: secDeltas or secState.
func (w *frameWriter) deltas(s *crdt.Store, kind uint64, a clock.Actor, first, last uint64, items []crdt.Delta) {
	w.section(kind, 1)
	w.body = s.AppendSection(w.body, &w.table, a, first, last, items)
}

// heads writes a section of heads. wantAck asks for an acknowledgement on the stream.
func (w *frameWriter) heads(list []head, wantAck bool) {
	w.section(secHeads, 1+2*len(list))
	w.bool(wantAck)
	for _, h := range list {
		w.actor(h.actor)
		w.uint(h.seq)
	}
}

// frameNodes is the greatest number of msgpack nodes of a frame that is accepted. A node takes a byte
// or more, and a correct peer writes at most syncBytes, one section of frameBytes and one record.
const frameNodes = 1 << 20

// Receive takes a frame from the network, compressed at most wire.MaxFrameBytes long. It does not keep
// or change frame. For a frame that it refuses it returns a *FrameError; the sections before the fault
// stay merged.
func (e *Engine) Receive(now time.Time, frame []byte) error {
	e.stats.FramesReceived++
	e.stats.BytesReceived += uint64(len(frame))
	err := e.receive(now, frame)
	if err != nil {
		e.stats.refused(err.Reason)
		return err
	}
	return nil
}

// receive checks a frame within the limits before it decodes any section.
func (e *Engine) receive(now time.Time, frame []byte) *FrameError {
	if len(frame) > wire.MaxFrameBytes {
		return &FrameError{Reason: "too-large"}
	}
	r := wire.NewReader(frame)
	n := r.ArrayLen()
	version := r.Uint()
	switch {
	case r.Err() != nil || n < 4:
		return &FrameError{"malformed", r.Err()}
	case version != Version:
		return &FrameError{"version", fmt.Errorf("%d, want %d", version, Version)}
	}
	flags, cluster := r.Uint(), r.Uint()
	if r.Err() == nil && cluster != uint64(e.cluster) {
		return &FrameError{Reason: "cluster"}
	}
	if flags&(flagS2|flagZstd) != 0 {
		packed := r.Bin()
		if r.Err() != nil {
			return &FrameError{"malformed", r.Err()}
		}
		plain, err := e.codec.decompress(packed, flags)
		if err != nil {
			return &FrameError{"decompress", err}
		}
		r = wire.NewReader(plain)
	}
	body := r.Raw()
	if r.Err() != nil || r.Len() > 0 && flags != 0 {
		return &FrameError{"malformed", r.Err()}
	}
	if _, err := wire.Check(body, wire.Limits{Bytes: wire.MaxFrameBytes, Depth: 8, Nodes: frameNodes}); err != nil {
		return &FrameError{"malformed", err}
	}
	r = wire.NewReader(body)
	return e.sections(now, &r)
}

// sections handles the sections of a frame in their order.
func (e *Engine) sections(now time.Time, r *wire.Reader) *FrameError {
	count := r.ArrayLen()
	actors, err := readActors(r)
	if err != nil {
		return &FrameError{"malformed", err}
	}
	from := e.byActor[actors[0]]
	if actors[0] == e.cfg.Self {
		e.cloned = true
		return nil
	}
	if from != nil {
		first := from.contact.Before(from.joined)
		from.contact = now
		if first {
			e.firstContact(now, from)
		}
	}
	in := &incoming{e: e, now: now, from: from, actors: actors}
	for range count - 1 {
		raw := r.Raw()
		sec := wire.NewReader(raw)
		n := sec.ArrayLen()
		kind := sec.Uint()
		if r.Err() == nil && sec.Err() == nil {
			if kind >= firstCritical && kind <= lastCritical {
				return &FrameError{"critical-section", fmt.Errorf("kind %d", kind)}
			}
			in.section(kind, n-1, &sec)
		}
		if err := cmpErr(r.Err(), sec.Err()); err != nil {
			return &FrameError{"malformed", err}
		}
	}
	e.sendOwedAcks(now)
	return nil
}

// cmpErr returns the first of two errors that is not nil.
func cmpErr(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// readActors reads the table of actors, which has at least the sender.
func readActors(r *wire.Reader) ([]clock.Actor, error) {
	n := r.ArrayLen()
	if r.Uint() != secActors || n < 2 || n > wire.MaxActors {
		r.Fail("actor table")
	}
	var actors []clock.Actor
	for i := 1; i < n && r.Err() == nil; i++ {
		actors = append(actors, clock.ReadActor(r))
	}
	return actors, r.Err()
}

// maxForwarded is the greatest number of new records of a state section that are forwarded down the
// tree. A few are writes that were lost further up the tree, and this peer's children lack them too.
// Many are writes that this peer alone missed while it was away.
const maxForwarded = 64

// incoming is one frame on its way through the engine.
type incoming struct {
	e           *Engine
	now         time.Time
	from        *peer         // the sender; nil if it is not in the view yet, so that no answer can be sent
	actors      []clock.Actor // the frame's table of actors
	quarantined bool          // a record was not merged, because its timestamp is beyond ClusterClock.Limit
	covered     []actorRange  // the dots that its state sections cover
}

// actorRange is a range of one actor's dots.
type actorRange struct {
	clock.Actor
	clock.Range
}

// actor reads an actor, written as its index in the frame's table.
func (in *incoming) actor(r *wire.Reader) clock.Actor {
	i := r.Uint()
	if i >= uint64(len(in.actors)) {
		r.Fail("actor number")
		return clock.Actor{}
	}
	return in.actors[i]
}

// section handles one section with n elements after its kind. Unknown kinds are skipped.
func (in *incoming) section(kind uint64, n int, r *wire.Reader) {
	e := in.e
	switch kind {
	case secDeltas:
		if res, ok := in.join(r); ok && len(res.Joined) > 0 {
			e.forward(in.now, res)
		}
	case secHeads:
		in.heads(r, n)
	case secAcks:
		in.acks(r, n)
	case secGaps:
		in.gapRequest(r, n)
	case secDigest:
		in.digest(r)
	case secSyncRequest:
		in.syncRequest(r)
	case secState:
		if res, ok := in.join(r); ok {
			in.covered = append(in.covered, actorRange{res.Actor, clock.Range{First: res.First, Last: res.Last}})
			n := len(res.Joined)
			if in.from != nil && n+res.Decided > 0 {
				in.from.gained = true
			}
			if n > 0 && n <= maxForwarded {
				e.forward(in.now, res)
			}
		}
	case secSyncReply:
		in.syncReply(r, n)
	case secSums:
		in.sums(r)
	case secRanges:
		in.ranges(r, n)
	case secLists:
		in.lists(r, n)
	case secBeats:
		in.beats(r, n)
	case secPath:
		in.path(r)
	case secParts:
		in.parts(r)
	}
}

// join merges one section of deltas and notes the gaps that it shows. It reports whether the
// section named an actor and a first dot at all.
func (in *incoming) join(r *wire.Reader) (crdt.SectionResult, bool) {
	e := in.e
	res, err := e.store.JoinSection(r, in.actors, e.Limit(in.now))
	if res.First == 0 {
		return res, false
	}
	if len(res.Joined)+res.Decided > 0 {
		e.noteChange(in.now)
		e.maxStamp = max(e.maxStamp, res.MaxStamp)
	}
	in.noteOwnHead(res.Actor, res.Last)
	if len(res.Joined) > 0 {
		if res.Actor == e.cfg.Self {
			e.cloned = true
		}
		e.noteInFlight(in.now, res.Actor, res.First)
	}
	e.stats.DeltasReceived += uint64(len(res.Joined) + res.Duplicates + res.Quarantined)
	e.stats.Duplicates += uint64(res.Duplicates)
	in.quarantined = in.quarantined || res.Quarantined > 0
	if err == nil {
		e.noteGap(in.now, in.from, res.Actor, res.Last, res.Quarantined > 0)
	}
	return res, true
}
