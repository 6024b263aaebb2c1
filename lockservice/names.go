package lockservice

// Claim is the claim of a peer that is up to a name. The ID differs from that of every other
// peer.
type Claim struct{ ID, Name string }

// Claimed returns the ID that each name stands for: the one that it stood for before, as long as
// that is up, and else the first in the list, which is ordered by age. A peer that claims the
// name of a voter which is up therefore gets neither its votes nor its leases.
func Claimed(before map[string]string, up []Claim) map[string]string {
	ids := make(map[string]string, len(up))
	for _, c := range up {
		if ids[c.Name] == "" || before[c.Name] == c.ID {
			ids[c.Name] = c.ID
		}
	}
	return ids
}
