package lockservice

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

func instOf(name string) Inst { return Inst{Node: name, N: 1} }

func TestOnlyTheHeadOfAQueueIsProposed(t *testing.T) {
	n, lock := newNode(t, "a", abc, nil), ownedBy("a", abc)
	var proposed []Message
	for _, m := range []Message{{Inst: instOf("x"), Mode: Shared}, {Inst: instOf("y")}, {Inst: instOf("z"), Mode: Shared}} {
		m.Kind, m.Lock, m.Round, m.TTL = Acquire, lock, 1, time.Second
		proposed = append(proposed, sent(t, receive(t, n, at(0), m.Inst.Node, m), "b", Accept)...)
	}
	if len(proposed) != 1 || proposed[0].Inst != instOf("x") {
		t.Errorf("proposed %+v, want x alone, who came first", proposed)
	}
}

func TestARoundThatSplitTheVotesIsGivenUp(t *testing.T) {
	n, lock := newNode(t, "a", abc, nil), ownedBy("a", abc)
	rd := receive(t, n, at(0), "x", Message{Kind: Acquire, Lock: lock, Inst: instOf("x"), Round: 1, TTL: time.Second})
	accept := sent(t, rd, "b", Accept)[0] // a has acknowledged the proposal itself
	nack := ackOf(accept)
	nack.Kind, nack.Reason, nack.Holder, nack.Left = Nack, Held, instOf("y"), time.Second
	receive(t, n, at(0), "b", nack)
	said := sent(t, receive(t, n, at(0), "c", nack), "x", Contended)
	if len(said) != 1 || said[0].Reason != Split {
		t.Errorf("told x %+v, want that the vote was split", said)
	}
}

func TestAfterASplitVoteAnInstanceIsNew(t *testing.T) {
	n, lock := newNode(t, "z", abc, nil), ownedBy("a", abc)
	if _, err := n.Acquire(at(0), Call{Lock: lock, TTL: time.Second}); err != nil {
		t.Fatal(err)
	}
	first := sent(t, n.Ready(at(0)), "a", Acquire)[0]
	rd := receive(t, n, at(0), "a", Message{Kind: Contended, Reason: Split, Inst: first.Inst, Round: first.Round})
	if left := sent(t, rd, "a", Release); len(left) != 1 || left[0].Inst != first.Inst {
		t.Errorf("released %+v, want the instance whose vote was split", left)
	}
	var again []Message
	for len(again) == 0 {
		when := at(n.Next() - at(0).Mono)
		n.Tick(when)
		again = sent(t, n.Ready(when), "a", Acquire)
	}
	if again[0].Inst == first.Inst {
		t.Error("an instance that had split a vote was proposed again")
	}
}

func TestWhatIsGrantedTooLateIsGivenBack(t *testing.T) {
	n, lock := newNode(t, "z", abc, nil), ownedBy("a", abc)
	id, err := n.Acquire(at(0), Call{Lock: lock, TTL: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	m := sent(t, n.Ready(at(0)), "a", Acquire)[0]
	if err := n.Release(at(0), id); err != nil {
		t.Fatal(err)
	}
	receive(t, n, at(0), "a", Message{Kind: Released, Lock: lock, Inst: m.Inst})
	granted := Message{Kind: Granted, Lock: lock, Inst: m.Inst, Round: m.Round, Token: wall}
	back := sent(t, receive(t, n, at(0), "a", granted), "a", Release)
	if len(back) != 1 || back[0].Inst != m.Inst {
		t.Errorf("answered %+v, want the release of what nobody waits for", back)
	}
}

// The comment of the package defines each rule that the code cites, and each rule that it
// defines has a mutant.
func TestEachRuleIsDefinedAndBroken(t *testing.T) {
	tag := regexp.MustCompile(`\b[ACOR]\d+\b`)
	read := func(file string) string {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	var defined, broken []string
	for _, m := range regexp.MustCompile(`(?m)^//\t([ACOR]\d+) `).FindAllStringSubmatch(read("doc.go"), -1) {
		defined = append(defined, m[1])
	}
	for _, m := range regexp.MustCompile(`\{"([ACOR]\d+) `).FindAllStringSubmatch(read("../internal/mutants/lock_test.go"), -1) {
		broken = append(broken, m[1])
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var cited []string
	for _, file := range files {
		if file == "doc.go" || strings.HasSuffix(file, "_test.go") {
			continue
		}
		for line := range strings.Lines(read(file)) {
			if _, comment, ok := strings.Cut(line, "//"); ok {
				cited = append(cited, tag.FindAllString(comment, -1)...)
			}
		}
	}
	for _, c := range cited {
		if !slices.Contains(defined, c) {
			t.Errorf("the code cites %s, which doc.go does not define", c)
		}
	}
	for _, d := range defined {
		if !slices.Contains(cited, d) {
			t.Errorf("doc.go defines %s, which no code cites", d)
		}
		if !slices.Contains(broken, d) {
			t.Errorf("no mutant breaks %s", d)
		}
	}
}
