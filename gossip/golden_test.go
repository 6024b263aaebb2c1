package gossip

import (
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/crdt"
)

var update = flag.Bool("update", false, "rewrite the golden files of the current wire version")

// goldenFrames makes frames with all kinds of sections. Their bytes are the same in each run.
func goldenFrames(t testing.TB) map[string][]byte {
	frames := map[string][]byte{}
	put := func(key string, v any) crdt.Op { return crdt.Op{Verb: crdt.Put, Key: key, Value: value(t, v)} }
	a, b := newMachine(ann, nil), newMachine(bob, nil)
	frames["put"] = a.write(t, t0, put("color", "red"))[0].Frame
	frames["ttl"] = a.write(t, t0, crdt.Op{Verb: crdt.Put, Key: "session", Value: value(t, 1), Expiry: uint64(t0.UnixMilli()) + 30_000})[0].Frame
	frames["types"] = a.write(t, t0,
		crdt.Op{Verb: crdt.Add, Key: "tags", Values: []crdt.Value{value(t, "x"), value(t, 7)}},
		crdt.Op{Verb: crdt.Remove, Key: "tags", Values: []crdt.Value{value(t, "x")}},
		crdt.Op{Verb: crdt.Increment, Key: "count", Delta: -3},
		crdt.Op{Verb: crdt.Bump, Key: "best", Value: value(t, 2.5)},
		crdt.Op{Verb: crdt.Patch, Key: "task", Value: value(t, map[string]any{"a": map[string]any{"b": 1}, "l": []any{1}, "e": map[string]any{}})},
		crdt.Op{Verb: crdt.Put, Key: "note", Kind: crdt.Custom, Value: value(t, nil)},
	)[0].Frame
	frames["delete"] = a.write(t, t0, crdt.Op{Verb: crdt.Delete, Key: "color"}, crdt.Op{Verb: crdt.Delete, Key: "tags"}, crdt.Op{Verb: crdt.Delete, Key: "task"})[0].Frame
	if err := b.Receive(t0, frames["put"]); err != nil {
		t.Fatal(err)
	}
	b.hlc.Observe(b.MaxStamp())
	frames["past"] = b.write(t, t0.Add(time.Millisecond), put("color", "blue"))[0].Frame

	a.RequestAcks(t0)
	a.Tick(t0)
	frames["want-ack"] = a.Envelopes()[0].Frame
	a.Tick(t0.Add(headDelay))
	frames["heads"] = a.Envelopes()[0].Frame
	if err := b.Receive(t0, frames["want-ack"]); err != nil {
		t.Fatal(err)
	}
	b.Tick(t0.Add(21 * time.Millisecond))
	frames["gap-request"] = pick(t, b.Envelopes(), secGaps)
	if err := a.Receive(t0, frames["gap-request"]); err != nil {
		t.Fatal(err)
	}
	frames["gap-answer"] = pick(t, a.Envelopes(), secDeltas)
	if err := b.Receive(t0, frames["gap-answer"]); err != nil {
		t.Fatal(err)
	}
	// Only a sync can tell that records were deleted.
	if err := a.Receive(t0, pick(t, b.Envelopes(), secSyncRequest)); err != nil {
		t.Fatal(err)
	}
	frames["sync-reply-whole"] = pick(t, a.Envelopes(), secSyncReply)
	if err := b.Receive(t0, frames["sync-reply-whole"]); err != nil {
		t.Fatal(err)
	}
	frames["ack"] = pick(t, b.Envelopes(), secAcks)

	c := newMachine(ann, func(c *Config) { c.Rules = 0xfeed })
	c.write(t, t0, put("k", 1))
	for i := range 4 { // until the dot is not in flight any more
		c.Tick(t0.Add(time.Duration(i+1) * flightInterval))
	}
	c.Envelopes()
	c.sendDigest(t0.Add(time.Second), c.peers[0])
	frames["digest"] = c.Envelopes()[0].Frame
	d := newMachine(bob, nil)
	if err := d.Receive(t0.Add(time.Second), frames["digest"]); err != nil {
		t.Fatal(err)
	}
	frames["sync-request"] = d.Envelopes()[0].Frame
	if err := c.Receive(t0.Add(time.Second), frames["sync-request"]); err != nil {
		t.Fatal(err)
	}
	frames["sync-reply"] = c.Envelopes()[0].Frame
	c.sendSums(t0, c.peers[0])
	frames["sums"] = c.Envelopes()[0].Frame
	if err := d.Receive(t0.Add(time.Second), frames["sync-reply"]); err != nil {
		t.Fatal(err)
	}
	d.Envelopes()
	d.store.Drop(clock.Dot{Actor: ann, Seq: 1}, ann, 0)
	if err := d.Receive(t0.Add(time.Second), frames["sums"]); err != nil {
		t.Fatal(err)
	}
	frames["ranges"] = d.Envelopes()[0].Frame
	if err := c.Receive(t0.Add(time.Second), frames["ranges"]); err != nil {
		t.Fatal(err)
	}
	frames["lists"] = c.Envelopes()[0].Frame

	h := newMachine(ann, nil)
	for _, w := range []string{"worker-1", "worker-2"} {
		if err := h.Host(t0, w, 30*time.Second); err != nil {
			t.Fatal(err)
		}
	}
	h.Tick(t0)
	frames["beats"] = h.Envelopes()[0].Frame
	h.Release(t0, "worker-1")
	frames["beats-release"] = h.Envelopes()[0].Frame
	h.probe(t0, h.peers[0])
	frames["probe"] = h.Envelopes()[0].Frame
	for range probeTries {
		h.Tick(h.peers[0].path.at)
	}
	frames["packets-blocked"] = pick(t, h.Envelopes()[probeTries-1:], secPath)

	var many []crdt.Op
	for i := range 40 {
		many = append(many, put(fmt.Sprintf("task-sentinel/tasks/%03d/title", i), "a value that many share"))
	}
	e := newMachine(ann, nil)
	frames["compressed"] = e.write(t, t0, many...)[0].Frame
	return frames
}

// The frames in testdata are still written byte for byte, and read. Files of a released wire version never change.
func TestGoldenFramesAreWrittenAndReadAlike(t *testing.T) {
	dir := filepath.Join("testdata", "wire", fmt.Sprintf("v%d", Version))
	frames := goldenFrames(t)
	for name, frame := range frames {
		file := filepath.Join(dir, name+".hex")
		if *update {
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte(dump(frame)), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if dump(frame) != string(want) {
			t.Errorf("%s is written as\n%s, want\n%s", name, dump(frame), want)
		}
		if err := newMachine(bob, nil).Receive(t0, undump(t, string(want))); err != nil {
			t.Errorf("%s is refused: %v", name, err)
		}
	}
	files, err := filepath.Glob(filepath.Join("testdata", "wire", "v*", "*.hex"))
	if err != nil || len(files) < len(frames) {
		t.Fatalf("%d golden files for %d frames: %v", len(files), len(frames), err)
	}
}

// dump writes 16 bytes a line in hexadecimal, followed by # and their printable characters.
func dump(b []byte) string {
	var s strings.Builder
	for len(b) > 0 {
		n := min(16, len(b))
		text := strings.Map(func(r rune) rune {
			if r < ' ' || r > '~' {
				return '.'
			}
			return r
		}, string(latin(b[:n])))
		fmt.Fprintf(&s, "%-47s  # %s\n", strings.TrimSpace(fmt.Sprintf("% x", b[:n])), text)
		b = b[n:]
	}
	return s.String()
}

func latin(b []byte) []rune {
	r := make([]rune, len(b))
	for i, c := range b {
		r[i] = rune(c)
	}
	return r
}

func undump(t testing.TB, s string) []byte {
	var b []byte
	for line := range strings.Lines(s) {
		code, _, _ := strings.Cut(line, "#")
		x, err := hex.DecodeString(strings.ReplaceAll(strings.TrimSpace(code), " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		b = append(b, x...)
	}
	return b
}
