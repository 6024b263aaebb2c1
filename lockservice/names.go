package lockservice

// Claim is what a peer that is up says of itself: the ID is its own alone, the name is
// the one it wants to be known by.
type Claim struct{ ID, Name string }

// Claimed returns the ID that each name stands for: the one it has stood for until now,
// for as long as that is up, else the first in the list, which is by age. So who claims
// the name of a voter that is up has neither its votes nor its leases, until that is gone.
func Claimed(before map[string]string, up []Claim) map[string]string {
	ids := make(map[string]string, len(up))
	for _, c := range up {
		if ids[c.Name] == "" || before[c.Name] == c.ID {
			ids[c.Name] = c.ID
		}
	}
	return ids
}
