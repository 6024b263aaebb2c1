package envelope

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// key is one of the cluster's; keys may share their first letter, which is what envelopes bear.
func key(name string) Key {
	return Key{Name: name[0], Pair: func(lives [2 * MarkBytes]byte) (cipher.AEAD, error) {
		sum := sha256.Sum256(append([]byte(name), lives[:]...))
		block, err := aes.NewCipher(sum[:])
		if err != nil {
			return nil, err
		}
		return cipher.NewGCM(block)
	}}
}

// life is one process.
type life struct {
	*Sealer
	*Opener
}

func begin(id string, keys ...Key) life {
	if keys == nil {
		keys = []Key{key("k")}
	}
	return life{NewSealer(id, keys[0]), NewOpener(id, keys)}
}

func (l life) seal(t testing.TB, to, text string) []byte {
	t.Helper()
	blank, err := l.Next(to)
	if err != nil {
		t.Fatal(err)
	}
	return blank.Seal(nil, 3, []byte(text))
}

// opens demands what comes of an envelope that holds text.
func (l life) opens(t testing.TB, what string, b []byte, text string, want Verdict) {
	t.Helper()
	letter, got := l.Open(nil, bytes.Clone(b))
	if got != want || got == Taken && (letter.Kind != 3 || string(letter.Body) != text) {
		t.Errorf("%s: %+v, %d; want %q, %d", what, letter, got, text, want)
	}
}

// A recorder has every envelope and no key.
func TestAnEnvelopeIsForOneLifeOnce(t *testing.T) {
	a, b, c := begin("a"), begin("b"), begin("c")
	first := a.seal(t, "b", "first")
	if n := len(first) - len("first"); n != 32 || Overhead != 32 {
		t.Errorf("%d bytes around a message, want 32", n)
	}
	b.opens(t, "sent", first, "first", Taken)
	b.opens(t, "sent again", first, "", Replayed)
	a.opens(t, "reflected", first, "", BadSeal)
	c.opens(t, "sent to another", first, "", BadSeal)
	begin("b2").opens(t, "sent to the next life", first, "", BadSeal)

	second, third := a.seal(t, "b", "second"), a.seal(t, "b", "third")
	b.opens(t, "overtaken", third, "third", Taken)
	b.opens(t, "the overtaken one", second, "second", Taken)
	b.opens(t, "the overtaken one again", second, "", Replayed)
	late := a.seal(t, "b", "late")
	for range windowSize - 1 {
		b.opens(t, "many", a.seal(t, "b", "many"), "many", Taken)
	}
	b.opens(t, "at the edge of the window", late, "late", Taken)
	later := a.seal(t, "b", "later")
	for range windowSize {
		b.opens(t, "many", a.seal(t, "b", "many"), "many", Taken)
	}
	b.opens(t, "behind the window", later, "", Replayed)
	for i := range Overhead + len("bent") {
		bent := a.seal(t, "b", "bent")
		bent[i] ^= 1
		if l, v := b.Open(nil, bent); v == Taken {
			t.Errorf("byte %d is bent, and %+v opens", i, l)
		}
	}
	for n := range Overhead {
		b.opens(t, "too short", second[:n], "", Malformed)
	}
}

// No nonce comes twice under one key, though ways are forgotten and keys come back.
func TestNoNonceComesTwice(t *testing.T) {
	ring := []Key{key("old"), key("new")}
	a, seen := begin("a", ring...), make(map[string]bool)
	for i := range 200 {
		header := string(a.seal(t, "b", "x")[:headerBytes])
		if seen[header] {
			t.Fatalf("envelope %d has the header of another", i)
		}
		seen[header] = true
		switch i % 20 {
		case 5:
			a.SetKey(ring[1])
		case 11:
			a.SetKey(ring[0])
		case 17:
			a.Sealer.Forget("b")
		}
	}
	// The window outlasts the keys: what was taken under the old key stays taken.
	b := begin("b", ring...)
	old := a.seal(t, "b", "old")
	b.opens(t, "before the rotation", old, "old", Taken)
	b.SetKeys(slices.Clone(ring))
	b.opens(t, "after it", old, "", Replayed)
	b.SetKeys(ring[1:])
	b.opens(t, "a key that is gone", a.seal(t, "b", "x"), "", UnknownKey)
}

// A life that has used up its counters says so, and seals nothing more.
func TestCountersEnd(t *testing.T) {
	a := begin("a")
	a.greatest = 1<<(8*counterBytes) - 2
	begin("b").opens(t, "the last", a.seal(t, "b", "the last"), "the last", Taken)
	for range 2 {
		if _, err := a.Next("b"); err == nil {
			t.Error("there is another")
		}
	}
}

// Keys of one ring may have one name; each opens what it sealed.
func TestKeysMayShareAName(t *testing.T) {
	ring := []Key{key("one"), key("other")}
	b := begin("b", ring...)
	for i := range 4 {
		from := begin(fmt.Sprint("a", i), ring[i%2])
		for range 2 {
			b.opens(t, fmt.Sprint(i), from.seal(t, "b", "hello"), "hello", Taken)
		}
	}
	b.opens(t, "a third", begin("c", key("only theirs")).seal(t, "b", "boo"), "", BadSeal)
	b.opens(t, "of another name", begin("d", key("foreign")).seal(t, "b", "boo"), "", UnknownKey)
}

// What costs memory goes with a member that is long gone; that its envelopes were taken stays.
func TestWhoIsForgottenCannotBeReplayed(t *testing.T) {
	a, b := begin("a"), begin("b")
	before := a.seal(t, "b", "before")
	b.opens(t, "before", before, "before", Taken)
	a.Sealer.Forget("b")
	b.Opener.Forget("a")
	b.Opener.Forget("nobody")
	if len(a.Sealer.ways) != 0 || b.Opener.ways[MarkOf("a")].ciphers != nil {
		t.Error("ciphers are kept")
	}
	b.opens(t, "a replay", before, "", Replayed)
	b.opens(t, "after it came back", a.seal(t, "b", "after"), "after", Taken)
	b.opens(t, "a replay", before, "", Replayed)
}

// Of too many lives the one that was silent for longest is forgotten.
func TestWaysAreBounded(t *testing.T) {
	b := begin("b")
	w := new(wayIn)
	for i := range MaxWays {
		b.Opener.ways[MarkOf(fmt.Sprint(i))] = w
	}
	b.Opener.taken, w.taken = 2, 2
	b.Opener.ways[MarkOf("7")] = &wayIn{taken: 1}
	b.opens(t, "one more", begin("a").seal(t, "b", "hello"), "hello", Taken)
	if n := len(b.Opener.ways); n != MaxWays || b.Opener.ways[MarkOf("7")] != nil {
		t.Errorf("%d ways are kept", n)
	}
}

func TestTheWindowIsASetOfTheLastCounters(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	rng := rand.New(rand.NewPCG(seed, 0))
	for range 50 {
		var w window
		taken := make(map[uint64]bool)
		greatest, base := uint64(0), rng.Uint64N(1<<50)
		for range 3000 {
			c := base + rng.Uint64N(200)
			switch rng.IntN(20) {
			case 0:
				base += rng.Uint64N(3 * windowSize)
			case 1:
				base += rng.Uint64N(1 << 40)
			default:
				base += rng.Uint64N(3)
				c -= min(c, rng.Uint64N(2*windowSize))
			}
			want := !taken[c] && (c > greatest || greatest-c < windowSize)
			if got := w.take(c); got != want {
				t.Fatalf("seed %d: take(%d) is %t, the greatest being %d", seed, c, got, greatest)
			}
			taken[c] = true
			greatest = max(greatest, c)
		}
	}
}
