package transport

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/netip"
	"runtime"
	"testing"

	"github.com/flynn/noise"
)

// allocated runs f and returns the bytes it allocated.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

type conn struct {
	io.Reader
	io.Writer
}

func FuzzHello(f *testing.F) {
	me, plain := mustIdentity(f, "test", "me", testKey), mustIdentity(f, "test", "me")
	good := func(from *identity) []byte {
		var b bytes.Buffer
		from.initiate(conn{bytes.NewReader(nil), &b}, forFrames, "me")
		return b.Bytes()
	}
	f.Add(good(me))
	f.Add(good(plain))
	f.Add(good(mustIdentity(f, "other", "x", testKey)))
	f.Add([]byte{bytePeer})
	f.Fuzz(func(t *testing.T, in []byte) {
		for _, id := range []*identity{me, plain} {
			var reply bytes.Buffer
			var s session
			var err error
			if n := allocated(func() { s, err = id.respond(conn{bytes.NewReader(in), &reply}) }); n > 64<<10 {
				t.Errorf("%d bytes of hello made us allocate %d", len(in), n)
			}
			if err == nil && (s.peer == "" || len(s.peer) > MaxNameBytes || reply.Bytes()[0] != answerOK) {
				t.Errorf("accepted %q as %q, answering %x", in, s.peer, reply.Bytes())
			}
			if err != nil && reply.Len() > 0 && reply.Bytes()[0] == answerOK {
				t.Error("refused, but answered OK")
			}
		}
	})
}

// What a stranger sends as a datagram opens nothing, and its answer is no longer than it is.
func FuzzEnvelope(f *testing.F) {
	all := []*envelopes{life(f, "me", testKey, newKey), life(f, "me")}
	for _, from := range []*envelopes{life(f, "x", testKey), life(f, "x")} {
		message, err := from.seal(nil, "me", kindFrame, []byte("a frame"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(message)
		for _, at := range []string{"192.0.2.1:9", "[fe80::1%eth0]:9"} {
			to, _ := netip.MustParseAddrPort(at).MarshalBinary()
			question, err := from.sealEcho(echoQuestion, [8]byte{1}, to)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(question)
		}
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		for _, e := range all {
			if n := allocated(func() { e.open(in) }); n > 64<<10+uint64(len(in)) {
				t.Errorf("%d bytes made us allocate %d", len(in), n)
			}
			if answer, to, why := e.answerEcho(in); why == causes && len(answer) > len(in) {
				t.Errorf("%d bytes go to %q for %d", len(answer), to, len(in))
			}
		}
	})
}

func FuzzRecords(f *testing.F) {
	b := &batch{}
	b.add(bulk, []byte("first half, "), false)
	b.add(urgent, []byte("in between"), true)
	b.add(bulk, []byte("second half"), true)
	f.Add(b.buf)
	f.Add([]byte{0, 0xFF, 0xFF, 0xFF})
	f.Add([]byte{flagLast, 0, 0xFF, 0xFB})
	f.Fuzz(func(t *testing.T, in []byte) {
		const limit = 1 << 20
		total := 0
		n := allocated(func() {
			readRecords(bufio.NewReaderSize(bytes.NewReader(in), 4096), limit, func(_ lane, frame []byte) {
				if len(frame) == 0 || len(frame) > limit {
					t.Errorf("a frame of %d bytes", len(frame))
				}
				total += len(frame)
			})
		})
		if total > len(in) {
			t.Errorf("%d bytes of frames from %d", total, len(in))
		}
		// Growing copies what arrived; each lane may wait for one record more.
		if most := uint64(8*len(in) + 2*2*maxRecord + 64<<10); n > most {
			t.Errorf("%d bytes made us allocate %d; allowed are %d", len(in), n, most)
		}
	})
}

func FuzzSealed(f *testing.F) {
	cipher := func() *noise.CipherState { return noise.UnsafeNewCipherState(suite, [32]byte{1, 2, 3}, 0) }
	b := &batch{}
	b.add(urgent, []byte("a frame"), true)
	good, err := seal(cipher(), nil, b.buf)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte{0xFF, 0xFF})
	f.Add([]byte{0, 1, 2})
	f.Fuzz(func(t *testing.T, in []byte) {
		n := allocated(func() {
			r := bufio.NewReaderSize(&opener{r: bytes.NewReader(in), cs: cipher()}, 4096)
			readRecords(r, 1<<20, func(_ lane, frame []byte) {
				if !bytes.HasPrefix(in, good) || string(frame) != "a frame" {
					t.Errorf("%x was forged from %x", frame, in)
				}
			})
		})
		if n > 256<<10 {
			t.Errorf("%d bytes made us allocate %d", len(in), n)
		}
	})
}

func TestRecordsOfBothLanesArePutTogetherApart(t *testing.T) {
	b := &batch{}
	b.add(bulk, []byte("first half, "), false)
	b.add(urgent, []byte("in between"), true)
	b.add(bulk, []byte("second half"), true)
	var frames []string
	err := readRecords(bufio.NewReader(bytes.NewReader(b.buf)), 100, func(_ lane, f []byte) { frames = append(frames, string(f)) })
	if err != io.EOF || len(frames) != 2 || frames[0] != "in between" || frames[1] != "first half, second half" {
		t.Errorf("read %q, %v", frames, err)
	}
}

func TestASealedStreamOpensOnlyUntouched(t *testing.T) {
	a, b := mustIdentity(t, "test", "a", testKey), mustIdentity(t, "test", "b", testKey)
	there, back := &bytes.Buffer{}, &bytes.Buffer{}
	var sa, sb session
	step, done := make(chan struct{}), make(chan struct{})
	go func() { // the responder, once the hello is there
		defer close(done)
		<-step
		sb, _ = b.respond(conn{there, back})
	}()
	sa, err := a.initiate(conn{readerFunc(func(p []byte) (int, error) {
		if step != nil {
			close(step)
			<-done
			step = nil
		}
		return back.Read(p)
	}), there}, forFrames, "b")
	if err != nil || sb.peer != "a" {
		t.Fatalf("handshake: %v, the other side sees %q", err, sb.peer)
	}
	plain := bytes.Repeat([]byte("x"), maxSealed)
	sealed, err := seal(sa.send, nil, plain)
	if err != nil {
		t.Fatal(err)
	}
	bent := bytes.Clone(sealed)
	bent[len(bent)/2] ^= 1
	if _, err := io.ReadAll(&opener{r: bytes.NewReader(bent), cs: sb.recv}); err == nil {
		t.Error("a bent message opens")
	}
	if got, err := io.ReadAll(&opener{r: bytes.NewReader(sealed), cs: sb.recv}); err != nil || !bytes.Equal(got, plain) {
		t.Errorf("an untouched message of %d bytes opens as %d, %v", len(plain), len(got), err)
	}
	if _, err := io.ReadAll(&opener{r: bytes.NewReader(sealed), cs: sb.recv}); err == nil {
		t.Error("a replayed message opens")
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// memberlist says of a thousand members in one piece what takes many sealed messages.
func TestAnExchangeIsOfAnyLength(t *testing.T) {
	here, there := net.Pipe()
	defer here.Close()
	defer there.Close()
	m := &mux{conns: make(map[*muxConn]struct{}), places: newPlaces()}
	answered := make(chan session, 1)
	go func() {
		s, _ := mustIdentity(t, "test", "b", testKey).respond(there)
		answered <- s
	}()
	s, err := mustIdentity(t, "test", "a", testKey).initiate(here, forMembers, anybody)
	if err != nil {
		t.Fatal(err)
	}
	from, to := newExchange(&muxConn{Conn: here, mux: m}, s), newExchange(&muxConn{Conn: there, mux: m}, <-answered)
	want := bytes.Repeat([]byte("0123456789"), 50_000)
	go func() {
		from.Write(want)
		here.Close()
	}()
	if got, err := io.ReadAll(to); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d of %d bytes arrive, %v", len(got), len(want), err)
	}
}
