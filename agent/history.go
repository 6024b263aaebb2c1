package agent

// historyBytes bounds the keys and values of a history, in bytes.
const historyBytes = 16 << 20

// history is a ring of the latest events, for subscribers that resume. Each event has a sequence
// number. Events are counted from the start of the peer and kept from the first subscription on.
// Calls must be made one at a time.
type history struct {
	limit int     // greatest number of events kept
	ring  []Event // the event seq is at seq % limit; nil before start
	first uint64  // sequence number of the oldest event kept, last+1 if none is kept
	last  uint64  // sequence number of the latest event, kept or not
	bytes int     // sum of the sizes of the events kept
}

func (h *history) started() bool { return h.ring != nil }

// start makes the history keep the events from now on.
func (h *history) start() {
	if !h.started() {
		h.ring = make([]Event, h.limit)
		h.first = h.last + 1
	}
}

// add counts an event, and keeps it if the history was started.
func (h *history) add(e Event) {
	h.last++
	if !h.started() {
		return
	}
	if h.last >= h.first+uint64(len(h.ring)) {
		h.drop()
	}
	*h.at(h.last) = e
	for h.bytes += e.size(); h.bytes > historyBytes && h.first < h.last; {
		h.drop()
	}
}

// drop forgets the oldest event.
func (h *history) drop() {
	oldest := h.at(h.first)
	h.bytes -= oldest.size()
	*oldest = Event{}
	h.first++
}

func (h *history) at(seq uint64) *Event { return &h.ring[seq%uint64(len(h.ring))] }

// since returns the events after seq whose keys match; false if an event after seq is not kept.
func (h *history) since(seq uint64, match func(key string) bool) ([]Event, bool) {
	if !h.started() || seq < h.first-1 || seq > h.last {
		return nil, false
	}
	var list []Event
	for seq++; seq <= h.last; seq++ {
		if e := h.at(seq); match(e.Key) {
			list = append(list, *e)
		}
	}
	return list, true
}
