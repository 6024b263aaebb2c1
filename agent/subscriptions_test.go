package agent

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/sentinel-peer/sentinel-peer/crdt"
)

// The trie finds exactly the subscriptions whose pattern matches.
func TestASubscriptionIsFoundByEveryKeyItMatches(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	words := []string{"a", "b", "ab", "c*", "*", "**", "?", "[ab]", "{a,b}", "{a/b,c}", `\a`, "x{,/y}", "a*b", "ab*"}
	plain := []string{"a", "b", "ab", "c", "cc", "x", "y"}
	draw := func(from []string) string {
		var list []string
		for range 1 + rng.IntN(4) {
			list = append(list, from[rng.IntN(len(from))])
		}
		return strings.Join(list, "/")
	}
	var trie subscriptions
	var all []*Subscription
	for range 300 {
		p, err := crdt.CompilePattern(draw(words))
		if err != nil {
			t.Fatal(err)
		}
		s := &Subscription{pattern: p}
		all = append(all, s)
		trie.add(s)
	}
	check := func() {
		t.Helper()
		hits := 0
		for range 500 {
			key := draw(plain)
			found := map[*Subscription]bool{}
			trie.of(key, func(s *Subscription) { found[s] = true })
			for _, s := range all {
				if s.pattern.Match(key) != found[s] {
					t.Fatalf("pattern %q, key %q: found %t", s.pattern, key, found[s])
				}
			}
			hits += len(found)
		}
		if len(all) > 0 && hits == 0 {
			t.Error("nothing matched: the test is too tame")
		}
	}
	check()
	for len(all) > 0 {
		i := rng.IntN(len(all))
		trie.remove(all[i])
		trie.remove(all[i])
		if all = slices.Delete(all, i, i+1); len(all)%100 == 0 {
			check()
		}
	}
	if trie.count != 0 || !trie.root.prune(nil) {
		t.Errorf("%d are left in %+v", trie.count, trie.root)
	}
}

func BenchmarkPutWithSubscriptions(b *testing.B) {
	for _, n := range []int{0, 10_000} {
		for _, glob := range []string{"tasks/%d/*", "tasks/*/%d", "tasks/x%d*/**"} {
			b.Run(fmt.Sprintf("%d/%s", n, strings.ReplaceAll(glob, "/", "_")), func(b *testing.B) {
				a := open(b, Config{Name: "n1"})
				for i := range n {
					if _, err := a.Watch(b.Context(), fmt.Sprintf(glob, i)); err != nil {
						b.Fatal(err)
					}
				}
				mine, err := a.Watch(b.Context(), "tasks/x7/*")
				if err != nil {
					b.Fatal(err)
				}
				for i := 0; b.Loop(); i++ { // each write is one that a subscriber has received
					if err := a.Put(b.Context(), "tasks/x7/a", i); err != nil {
						b.Fatal(err)
					}
					next(b, mine)
				}
			})
		}
	}
}
