package lockservice

import (
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

var update = flag.Bool("update", false, "rewrite the golden files of the current wire version")

// samples returns a message of each kind, with every field that the kind carries.
func samples() []Message {
	ann := Inst{"ann", [16]byte{1, 2, 3, 15: 9}, 7}
	bob := Inst{"bob", [16]byte{4}, 1 << 40}
	full := Message{
		Mode: Shared, Reason: Held, Flags: flagTry | flagInsist, Reachable: 1, Needed: 2, Waiting: 3, Lock: "orders/7", Inst: ann, Round: 300,
		Token: wall, Floor: wall + 1, TTL: 10 * time.Second, Waited: 123 * time.Millisecond, Left: time.Second, Epoch: 2, Hash: 0xfeed,
		Bundle: 5, Digest: 1 << 60, Hint: "bob", Holder: bob, Supersedes: []Inst{bob}, Holders: []Holder{{bob, Shared, wall, time.Second}},
		Known: []known{{"orders/7", []Holder{{bob, Shared, wall, time.Second}}, []Client{{"bob", "ci at 10.0.0.9", Shared, wall, 0, time.Second, 0}, {"ann", "", Exclusive, 0, time.Minute, 0, 0}}, 5}},
	}
	var list []Message
	for k := Acquire; k < kinds; k++ {
		m := full
		m.Kind = k
		list = append(list, m)
	}
	return list
}

// carried returns m with only those fields that its kind carries.
func carried(t testing.TB, m Message) Message {
	_, _, list, err := ReadPacket(appendMessage(appendHeader(nil, 2, 0xfeed, 1), &m))
	if err != nil {
		t.Fatal(err)
	}
	return list[0]
}

// The packets of a released wire version must stay the same, and must stay readable.
func TestGoldenPacketsAreWrittenAndReadAlike(t *testing.T) {
	dir := filepath.Join("testdata", "wire", fmt.Sprintf("v%d", Version))
	for _, m := range samples() {
		b := appendMessage(appendHeader(nil, 2, 0xfeed, 1), &m)
		file := filepath.Join(dir, m.Kind.String()+".hex")
		if *update {
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte(dump(b)), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if dump(b) != string(want) {
			t.Errorf("%v is written as\n%s, want\n%s", m.Kind, dump(b), want)
		}
		epoch, hash, list, err := ReadPacket(undump(t, string(want)))
		if err != nil || epoch != 2 || hash != 0xfeed || len(list) != 1 {
			t.Fatalf("%v is refused: %v", m.Kind, err)
		}
		if again := carried(t, list[0]); !reflect.DeepEqual(again, list[0]) || list[0].Kind != m.Kind || list[0].Inst != m.Inst && list[0].Inst != (Inst{}) {
			t.Errorf("%+v is read as %+v", m, list[0])
		}
	}
}

func dump(b []byte) string {
	var s strings.Builder
	for len(b) > 0 {
		n := min(16, len(b))
		text := strings.Map(func(r rune) rune {
			if r < ' ' || r > '~' {
				return '.'
			}
			return r
		}, strings.ToValidUTF8(string(b[:n]), "."))
		fmt.Fprintf(&s, "%-47s  # %s\n", strings.TrimSpace(fmt.Sprintf("% x", b[:n])), text)
		b = b[n:]
	}
	return s.String()
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

func TestAHostilePacketIsRefusedWhole(t *testing.T) {
	n := newNode(t, "a", abc, nil)
	good := Message{Kind: Acquire, Lock: "l", Inst: Inst{"b", [16]byte{1}, 1}, Round: 1, TTL: time.Second}
	f := func(name string, b []byte) {
		t.Helper()
		before := n.Stats().Messages
		if err := n.Receive(at(0), "b", b); err == nil || n.Stats().Messages != before {
			t.Errorf("%s: accepted", name)
		}
	}
	bad := func(tune func(*Message)) []byte {
		m := good
		tune(&m)
		return packet(n, good, m)
	}
	f("nothing", nil)
	f("a huge count", []byte{0xdd, 0xff, 0xff, 0xff, 0xff})
	f("another version", append([]byte{0x94, 9}, packet(n, good)[2:]...))
	f("something behind", append(packet(n, good), 1))
	f("a long name", bad(func(m *Message) { m.Lock = strings.Repeat("x", maxLockBytes+1) }))
	f("no instance", bad(func(m *Message) { m.Inst = Inst{} }))
	f("an instance of nobody", bad(func(m *Message) { m.Inst.Node = "" }))
	f("a mode", bad(func(m *Message) { m.Mode = 2 }))
	f("flags", bad(func(m *Message) { m.Flags = 1 << flags }))
	f("a long wait", bad(func(m *Message) { m.Waited = maxDuration + 1 }))
	f("a token", bad(func(m *Message) { m.Kind, m.Token = Granted, MaxToken+1 }))
	f("too many superseded", bad(func(m *Message) { m.Kind, m.Supersedes = Accept, make([]Inst, maxSupersedes+1) }))
	f("a kind", append(appendHeader(nil, 1, 1, 1), 0x91, byte(kinds)))
	f("kind 0", append(appendHeader(nil, 1, 1, 1), 0x91, 0))
	f("too many messages", func() []byte {
		b := appendHeader(nil, 1, 1, maxPacketMessages+1)
		for range maxPacketMessages + 1 {
			b = appendMessage(b, &Message{Kind: Status})
		}
		return b
	}())
	f("too long", make([]byte, maxPacketBytes+1))
	if n.Stats().Bad == 0 {
		t.Error("not counted")
	}
}

func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// A message is larger in memory than on the wire, where it has at least 2 bytes.
func ceiling(n int) uint64 { return 64<<10 + 1000*uint64(n) }

func FuzzReadPacket(f *testing.F) {
	for _, m := range samples() {
		f.Add(appendMessage(appendHeader(nil, 1, 2, 1), &m))
	}
	f.Add([]byte{0xdd, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		var epoch, hash uint64
		var list []Message
		var err error
		if n := allocated(func() { epoch, hash, list, err = ReadPacket(b) }); n > ceiling(len(b)) {
			t.Fatalf("%d bytes of input allocate %d", len(b), n)
		}
		if err != nil {
			return
		}
		again := appendHeader(nil, epoch, hash, len(list))
		for i := range list {
			again = appendMessage(again, &list[i])
		}
		if _, _, same, err := ReadPacket(again); err != nil || !reflect.DeepEqual(same, list) {
			t.Fatalf("does not round trip: %v\n%+v\n%+v", err, list, same)
		}
	})
}

// For any packet, the answers of a node are within its bounds and the node does not panic.
func FuzzNodeReceives(f *testing.F) {
	for _, m := range samples() {
		m.Inst.Node = "b"
		f.Add(appendMessage(nil, &m))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		n := newNode(t, "a", abc, nil)
		size, err := wire.Check(body, wire.Limits{})
		if err != nil {
			return
		}
		b := append(appendHeader(nil, 1, n.voters.hash, 1), body[:size]...)
		for i, from := range []string{"b", "c", "a"} {
			_ = n.Receive(at(time.Duration(i)*time.Second), from, b)
			n.Tick(at(time.Duration(i) * time.Minute))
		}
		if rd := n.Ready(at(time.Hour)); len(rd.Packets) > 100 {
			t.Errorf("%d packets", len(rd.Packets))
		}
	})
}
