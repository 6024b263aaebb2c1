package agent

// historyBytes bounds the keys and values of a history.
const historyBytes = 16 << 20

// history is the ring of the latest events, for those who resume. It begins with
// the first who listens. Its owner serialises all calls.
type history struct {
	limit int     // events
	ring  []Event // by their number; nil before start
	first uint64  // the oldest event kept; last+1 if there is none
	last  uint64  // the latest event there was, kept or not
	bytes int
}

func (h *history) started() bool { return h.ring != nil }

func (h *history) start() {
	if !h.started() {
		h.ring = make([]Event, h.limit)
		h.first = h.last + 1
	}
}

// add numbers an event, and keeps it once started.
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

func (h *history) drop() {
	oldest := h.at(h.first)
	h.bytes -= oldest.size()
	*oldest = Event{}
	h.first++
}

func (h *history) at(seq uint64) *Event { return &h.ring[seq%uint64(len(h.ring))] }

// since returns the events after seq that match, or false if one may be missing.
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
