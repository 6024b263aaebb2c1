package crdt

import "fmt"

// VitalBytes is how many bytes of memory an operation with Op.Vital may add to a store
// that is full.
const VitalBytes = 2 << 10

// FullError refuses a local write that would add more content to a store than its limit
// allows. The store never refuses a delete, an increment of a counter to which this replica
// has added before, or a write that takes no more memory than the content that it replaces.
// Removals and pasts are not counted as content, because Collect forgets them once they are
// stable; removals take at most a quarter of Limit.
type FullError struct {
	Needs int // bytes of content that the write would add
	Used  int // Store.Memory
	Limit int // Config.MaxBytes
}

// Error gives the three numbers and says what frees memory.
func (e *FullError) Error() string {
	return fmt.Sprintf("the store is full: the write would add about %d bytes to the %d in use, and the limit is %d; delete something, or raise the limit", e.Needs, e.Used, e.Limit)
}

// checkMemory returns a *FullError if the operations of b would add content beyond the
// store's limit. Removals and pasts do not count, because Collect forgets them later.
func (b *Batch) checkMemory() error {
	s := b.s
	free := s.maxBytes - s.Memory()
	if s.maxBytes == 0 || b.maxGrowth <= free {
		return nil
	}
	adds := 0
	drafts := make(map[string]*draft)
	for i := range b.ops {
		op := &b.ops[i]
		d := drafts[op.Key]
		if d == nil {
			d = newDraft(s, op.Key, b.now)
			d.stamp = b.stamp
			drafts[op.Key] = d
		}
		before := d.growth
		d.run(op, b.kinds[i])
		n := d.growth - before
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

// maxGrowth returns an upper bound of the bytes that op can add, computed from what op
// writes alone. A batch whose bounds fit into the free memory needs no draft.
func (op *Op) maxGrowth(l *writeCheck) int {
	n := keyMemory + len(op.Key) + manyMemory + l.memory
	for _, segment := range op.Path {
		n += 3 * (len(segment) + 5)
	}
	return n + slotCounter.memory("", counterBytes) // for one more marker, empty set or count
}

// counterBytes is the length in bytes of the longest value of a counter's record.
const counterBytes = 19
