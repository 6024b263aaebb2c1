package crdt

import "fmt"

// VitalBytes is how much memory an operation with Op.Vital may add in a store that is
// full.
const VitalBytes = 2 << 10

// FullError refuses a local write that would add to a store that has no room for it.
// Deletes, increments of a counter that this replica has a part in, and writes that take
// no more than what they replace are never refused. Removals and what a write has seen are
// not counted: they are forgotten in time, and removals take a quarter of Limit at most.
type FullError struct {
	Needs int // bytes of content that the write would add
	Used  int // Store.Memory
	Limit int // Config.MaxBytes
}

// Error names the numbers and what helps.
func (e *FullError) Error() string {
	return fmt.Sprintf("the store is full: the write would add about %d bytes to the %d in use, and the limit is %d; delete something, or raise the limit", e.Needs, e.Used, e.Limit)
}

// room refuses the operations of u if they would add to the store beyond its limit, as
// far as removals and what writes have seen are left out: those are forgotten in time.
func (u *unit) room(kinds []Kind) error {
	s := u.s
	free := s.maxBytes - s.Memory()
	if s.maxBytes == 0 || u.most <= free {
		return nil
	}
	adds := 0
	drafts := make(map[string]*draft)
	for i := range u.ops {
		op := &u.ops[i]
		d := drafts[op.Key]
		if d == nil {
			d = newDraft(s, op.Key, u.now)
			drafts[op.Key] = d
		}
		before := d.adds
		d.run(op, kinds[i])
		n := d.adds - before
		if op.Vital && n > 0 {
			n = max(n-VitalBytes, 0)
		}
		adds += n
	}
	if adds <= max(free, 0) {
		return nil
	}
	s.stats.Refused++
	return &FullError{Needs: adds, Used: s.Memory(), Limit: s.maxBytes}
}

// most is more than op can add, by what it writes alone: far from the limit nothing else
// is asked.
func (op *Op) most(l *leaves) int {
	n := keyMemory + len(op.Key) + manyMemory + l.memory
	for _, segment := range op.Path {
		n += 3 * (len(segment) + 5)
	}
	return n + slotCounter.memory("", counterBytes) // of a mark, of a set without elements or of a count
}

// counterBytes is the longest value of a counter's record.
const counterBytes = 19
