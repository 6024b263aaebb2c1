package crdttest

import (
	"bytes"
	"math/rand/v2"

	"pgregory.net/rapid"
)

// CheckJoin fails t if join is not the join of a semilattice over the states that states
// draws. It compares states by their encodings, so encode must give equal states equal
// bytes. CheckJoin also fails t if a join changes one of its arguments, or changes the
// result of an earlier join because the two share memory.
func CheckJoin[S any](t TB, states *rapid.Generator[S], join func(a, b S) S, encode func(S) []byte) {
	t.Helper()
	c := joinCheck[S]{states, join, encode}
	rapid.Check(t, c.laws)
	rapid.Check(t, c.aliasing)
	rapid.Check(t, c.histories)
}

type joinCheck[S any] struct {
	states *rapid.Generator[S]
	join   func(a, b S) S
	encode func(S) []byte
}

// bytes returns a copy of the encoding, because encode may return memory of the state.
func (c joinCheck[S]) bytes(s S) []byte { return bytes.Clone(c.encode(s)) }

// laws checks the laws of a join on three states.
func (c joinCheck[S]) laws(t *rapid.T) {
	x, y, z := c.states.Draw(t, "x"), c.states.Draw(t, "y"), c.states.Draw(t, "z")
	same := func(law string, a, b S) {
		t.Helper()
		if p, q := c.bytes(a), c.bytes(b); !bytes.Equal(p, q) {
			t.Fatalf("join is not %s: the sides encode as\n%q\n%q", law, p, q)
		}
	}
	for _, p := range [][2]S{{x, y}, {y, z}, {z, x}} {
		same("deterministic", c.join(p[0], p[1]), c.join(p[0], p[1]))
		same("idempotent, x+x = x", c.join(p[0], p[0]), p[0])
		same("commutative, x+y = y+x", c.join(p[0], p[1]), c.join(p[1], p[0]))
	}
	same("associative, (x+y)+z = x+(y+z)", c.join(c.join(x, y), z), c.join(x, c.join(y, z)))
}

// aliasing checks that joins leave their arguments and earlier results as they were.
func (c joinCheck[S]) aliasing(t *rapid.T) {
	x, y, z := c.states.Draw(t, "x"), c.states.Draw(t, "y"), c.states.Draw(t, "z")
	wasX, wasY, wasZ := c.bytes(x), c.bytes(y), c.bytes(z)
	xy := c.join(x, y)
	wasXY := c.bytes(xy)
	c.join(xy, z)
	c.join(z, xy)
	unchanged := func(name string, s S, was []byte) {
		t.Helper()
		if is := c.bytes(s); !bytes.Equal(is, was) {
			t.Fatalf("a join changed %s: it encoded as\n%q, now as\n%q", name, was, is)
		}
	}
	unchanged("its argument x", x, wasX)
	unchanged("its argument y", y, wasY)
	unchanged("its argument z", z, wasZ)
	unchanged("the result of an earlier one", xy, wasXY)
}

// histories joins the same states in two orders, as two replicas may receive them. The
// second order has repeats and random groups.
func (c joinCheck[S]) histories(t *rapid.T) {
	history := rapid.SliceOfN(c.states, 1, 8).Draw(t, "history")
	straight := history[0]
	for _, s := range history[1:] {
		straight = c.join(straight, s)
	}
	rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "order"), 0))
	pool := append([]S(nil), history...)
	for range rng.IntN(len(history) + 1) {
		pool = append(pool, history[rng.IntN(len(history))])
	}
	for len(pool) > 1 { // join two at random until one is left
		rng.Shuffle(len(pool), func(i, j int) { pool[i], pool[j] = pool[j], pool[i] })
		n := len(pool) - 1
		pool[n-1] = c.join(pool[n-1], pool[n])
		pool = pool[:n]
	}
	if p, q := c.bytes(straight), c.bytes(pool[0]); !bytes.Equal(p, q) {
		t.Fatalf("two histories of the same %d states encode as\n%q\n%q", len(history), p, q)
	}
}
