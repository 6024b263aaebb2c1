package backlog

// Queue holds events for one reader. Past its bounds it gives all of them up, and
// says so once: the reader is to forget what it knew and to look at the current state.
// One caller at a time.
type Queue[E any] struct {
	Limit int // events
	Bytes int // their sizes together

	list   []sized[E]
	bytes  int
	lagged bool
	missed uint64
}

type sized[E any] struct {
	event E
	size  int
}

// Offer queues an event.
func (q *Queue[E]) Offer(e E, size int) {
	switch {
	case q.lagged:
		q.missed++
	case len(q.list) >= q.Limit || q.bytes+size > q.Bytes:
		q.missed += uint64(len(q.list)) + 1
		q.list, q.bytes, q.lagged = nil, 0, true
	default:
		q.list = append(q.list, sized[E]{e, size})
		q.bytes += size
	}
}

// Lag gives up what came before the queue did.
func (q *Queue[E]) Lag() { q.lagged = true }

// Next takes the first event that waits, or the news that some were given up.
func (q *Queue[E]) Next() (e E, ok, lagged bool) {
	if q.lagged {
		q.lagged = false
		return e, false, true
	}
	if len(q.list) == 0 {
		return e, false, false
	}
	first := q.list[0]
	q.list[0] = sized[E]{} // what it refers to is the reader's alone now
	q.list = q.list[1:]
	q.bytes -= first.size
	return first.event, true, false
}

// Waiting returns how many events wait, and their sizes together.
func (q *Queue[E]) Waiting() (events, bytes int) { return len(q.list), q.bytes }

// Missed returns how many events were given up so far.
func (q *Queue[E]) Missed() uint64 { return q.missed }
