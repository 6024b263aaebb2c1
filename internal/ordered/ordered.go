package ordered

import (
	"iter"
	"slices"
	"sync"

	"github.com/tidwall/btree"
)

// List is the members of a set in their order. Its methods may be called by several goroutines at
// the same time, but one goroutine at a time calls Note.
type List[T comparable] struct {
	compare func(a, b T) int
	all     iter.Seq[T]
	size    func() int

	noting  sync.Mutex // guards the two fields that follow; may be taken by a holder of sorting
	follows bool       // changes are noted
	notes   []note[T]  // the changes since the tree was last brought up to date, oldest first

	sorting sync.RWMutex // guards tree
	tree    *btree.BTreeG[T]
}

// note says that a member came into the set or left it.
type note[T any] struct {
	member T
	left   bool
}

// New returns a list of the members that all returns, which are about size many. The function
// compare tells their order by what never changes of them, and no two members are equal in it at
// the same time. Whoever lists calls all and compare, and only Note calls size.
func New[T comparable](compare func(a, b T) int, all iter.Seq[T], size func() int) *List[T] {
	return &List[T]{compare: compare, all: all, size: size}
}

// fewNotes is the number of changes up to which they are noted, however few members there are.
const fewNotes = 4096

// Note tells the list, after the fact, that a member came into the set or left it.
func (l *List[T]) Note(member T, left bool) {
	l.noting.Lock()
	defer l.noting.Unlock()
	switch {
	case !l.follows:
	case len(l.notes) >= fewNotes && len(l.notes) >= l.size()/8:
		l.follows, l.notes = false, nil
	default:
		l.notes = append(l.notes, note[T]{member, left})
	}
}

// take returns the noted changes and begins to note. If changes were not noted, whole is true, and
// the caller must read all members after the call.
func (l *List[T]) take() (notes []note[T], whole bool) {
	l.noting.Lock()
	defer l.noting.Unlock()
	notes, whole = l.notes, !l.follows
	l.notes, l.follows = nil, true
	return notes, whole
}

// sort brings the tree up to date.
func (l *List[T]) sort() {
	l.sorting.Lock()
	defer l.sorting.Unlock()
	notes, whole := l.take()
	if whole {
		// A member that comes or goes during the loop is noted too, and sorted in next time.
		all := slices.Collect(l.all)
		slices.SortFunc(all, l.compare)
		l.tree = btree.NewBTreeGOptions(func(a, b T) bool { return l.compare(a, b) < 0 }, btree.Options{NoLocks: true})
		for _, m := range all {
			l.tree.Load(m)
		}
		return
	}
	// The changes at one place in the order stay as they came.
	slices.SortStableFunc(notes, func(a, b note[T]) int { return l.compare(a.member, b.member) })
	var hint btree.PathHint
	for _, n := range notes {
		if !n.left {
			l.tree.SetHint(n.member, &hint)
		} else if m, ok := l.tree.GetHint(n.member, &hint); ok && m == n.member {
			l.tree.DeleteHint(m, &hint)
		}
	}
}

// Ascend takes so many members from the tree under the first hold of its lock, and under each later one.
const (
	firstHold = 32
	perHold   = 256
)

// Ascend calls f for the members from the place of first on, in their order, until f returns false.
// Members that come or go during the call may be missed or met. No lock is held while f runs.
func (l *List[T]) Ascend(first T, f func(T) bool) {
	l.sort()
	var batch [perHold]T
	for most, after := firstHold, false; ; most, after = perHold, true {
		list := batch[:0]
		l.sorting.RLock()
		l.tree.Ascend(first, func(m T) bool {
			if !after || l.compare(m, first) != 0 {
				list = append(list, m)
			}
			return len(list) < most
		})
		l.sorting.RUnlock()
		for _, m := range list {
			if !f(m) {
				return
			}
		}
		if len(list) < most {
			return
		}
		first = list[len(list)-1]
	}
}
