package gossip

// Passage says whether packets get through in one direction.
type Passage uint8

// The passages. One is unknown until the first probe of it was answered, or was not.
const (
	UnknownPassage Passage = iota
	Passes
	Blocked // streams carry everything
)

var passageNames = [...]string{"unknown", "pass", "blocked"}

// String returns unknown, pass or blocked.
func (p Passage) String() string {
	if int(p) < len(passageNames) {
		return passageNames[p]
	}
	return passageNames[UnknownPassage]
}

// path is whether packets get through between this peer and another.
type path struct {
	to, from Passage
}
