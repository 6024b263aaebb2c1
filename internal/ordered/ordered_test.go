package ordered

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

type member struct{ name string }

// set is a set of members with its list.
type set struct {
	mu      sync.Mutex
	members map[string]*member
	list    *List[*member]
}

func newSet() *set {
	s := &set{members: make(map[string]*member)}
	s.list = New(func(a, b *member) int { return strings.Compare(a.name, b.name) }, func(yield func(*member) bool) {
		s.mu.Lock()
		all := slices.Collect(maps.Values(s.members))
		s.mu.Unlock()
		for _, m := range all {
			if !yield(m) {
				return
			}
		}
	}, func() int {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.members)
	})
	return s
}

func (s *set) add(name string) {
	s.mu.Lock()
	m, there := s.members[name]
	if !there {
		m = &member{name}
		s.members[name] = m
	}
	s.mu.Unlock()
	if !there {
		s.list.Note(m, false)
	}
}

func (s *set) remove(name string) {
	s.mu.Lock()
	m, there := s.members[name]
	delete(s.members, name)
	s.mu.Unlock()
	if there {
		s.list.Note(m, true)
	}
}

func (s *set) names(from, to string) (names []string) {
	s.list.Ascend(&member{from}, func(m *member) bool {
		if to != "" && m.name >= to {
			return false
		}
		names = append(names, m.name)
		return true
	})
	return names
}

// Whatever comes and goes, and whenever somebody lists, a list is the sorted set.
func TestAListIsASortedSet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, name := newSet(), rapid.StringMatching(`[ab]{0,3}`)
		t.Repeat(map[string]func(*rapid.T){
			"add":    func(t *rapid.T) { s.add(name.Draw(t, "name")) },
			"remove": func(t *rapid.T) { s.remove(name.Draw(t, "name")) },
			"forget": func(*rapid.T) { s.list.follows, s.list.notes = false, nil },
			"list": func(t *rapid.T) {
				from, to := name.Draw(t, "from"), name.Draw(t, "to")
				var want []string
				for _, name := range slices.Sorted(maps.Keys(s.members)) {
					if from <= name && (to == "" || name < to) {
						want = append(want, name)
					}
				}
				if got := s.names(from, to); !slices.Equal(got, want) {
					t.Fatalf("from %q to %q: %q, want %q", from, to, got, want)
				}
			},
		})
	})
}

// More members than one hold of the lock takes come once each.
func TestAscendGoesOnBehindTheLastMember(t *testing.T) {
	s, n := newSet(), 3*perHold+1
	for i := range n {
		s.add(fmt.Sprintf("%06d", i))
	}
	names := s.names("", "")
	if len(names) != n || !slices.IsSorted(names) || len(slices.Compact(names)) != n {
		t.Errorf("%d names, want %d, sorted and each once", len(names), n)
	}
	if names := s.names("000500", ""); len(names) != n-500 {
		t.Errorf("%d names from 500 on, want %d", len(names), n-500)
	}
}

// A set that nobody lists has no notes, and one that changes much between two listings has not a
// note of each change.
func TestNotesAreBounded(t *testing.T) {
	s := newSet()
	churn := func(n int) {
		for i := range n {
			s.add(fmt.Sprint(i))
			s.remove(fmt.Sprint(i))
		}
	}
	churn(100)
	if len(s.list.notes) != 0 {
		t.Errorf("%d notes before anybody has listed", len(s.list.notes))
	}
	s.names("", "")
	churn(100)
	if len(s.list.notes) != 200 {
		t.Errorf("%d notes of 200 changes after a listing", len(s.list.notes))
	}
	churn(2 * fewNotes)
	if len(s.list.notes) > fewNotes {
		t.Errorf("%d notes; at most %d are allowed", len(s.list.notes), fewNotes)
	}
}

// Members that stay are listed, whoever comes and goes and lists at the same time.
func TestListingsBesideChanges(t *testing.T) {
	s := newSet()
	for i := range 1000 {
		s.add(fmt.Sprintf("stays/%04d", i))
	}
	var listing sync.WaitGroup
	for range 4 {
		listing.Go(func() {
			for range 20 {
				if n := len(s.names("stays/", "stays0")); n != 1000 {
					t.Errorf("%d members are listed, want 1,000", n)
				}
			}
		})
	}
	for i := range 20_000 {
		s.add(fmt.Sprint("goes/", i%100))
		s.remove(fmt.Sprint("goes/", i%100))
	}
	listing.Wait()
}
