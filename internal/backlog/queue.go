package backlog

// Queue holds the events that one reader has not taken yet. An event beyond the bounds makes
// the queue give up all of its events, and Next then reports once that the reader lagged: the
// reader discards the state that it built from earlier events and reads the current state.
// Calls must be made one at a time.
type Queue[E any] struct {
	Limit int // greatest number of events
	Bytes int // greatest sum of the sizes that Offer was given

	list   []sized[E] // oldest first
	bytes  int        // sum of the sizes in list
	lagged bool       // Next has not yet reported that events were given up
	missed uint64     // events given up since the queue was made
}

type sized[E any] struct {
	event E
	size  int
}

// Offer queues an event of size bytes. It gives the event up if the reader has yet to learn
// that it lagged, and all events if this one is beyond the bounds.
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

// Lag makes the next call of Next report that the reader lagged. It is for a reader that missed
// events before it had this queue.
func (q *Queue[E]) Lag() { q.lagged = true }

// Next takes the oldest event; ok is false if none waits. If events were given up since the last
// call, it returns no event, and lagged is true.
func (q *Queue[E]) Next() (e E, ok, lagged bool) {
	if q.lagged {
		q.lagged = false
		return e, false, true
	}
	if len(q.list) == 0 {
		return e, false, false
	}
	first := q.list[0]
	q.list[0] = sized[E]{} // so that the list does not keep alive what the event refers to
	q.list = q.list[1:]
	q.bytes -= first.size
	return first.event, true, false
}

// Waiting returns how many events wait, and the sum of their sizes in bytes.
func (q *Queue[E]) Waiting() (events, bytes int) { return len(q.list), q.bytes }

// Missed returns how many events were given up since the queue was made.
func (q *Queue[E]) Missed() uint64 { return q.missed }
