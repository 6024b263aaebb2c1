package verdict

import (
	"slices"
	"strings"

	"github.com/sentinel-peer/sentinel-peer/agent"
)

const oneKey = "add it to the --key-file there, and send SIGHUP: every peer must hold a key before any seals with it"

// keys checks how far a change of the cluster's key has come: which peers hold which keys. Of a
// peer that is down, the keys are those that it had when it was last heard.
func keys(k *Known) (found []Finding) {
	var self agent.Member
	var others []agent.Member
	for _, m := range k.Members {
		switch {
		case len(m.Keys) == 0 || m.State == "left":
		case m.Self:
			self = m
		default:
			others = append(others, m)
		}
	}
	if len(self.Keys) == 0 || len(others) == 0 {
		return nil
	}
	told := map[string]bool{} // the keys that a finding names
	for _, m := range others {
		switch {
		case m.State != "alive":
		case !slices.Contains(m.Keys, self.Keys[0]):
			told[self.Keys[0]] = true
			found = append(found, Finding{"keys", Fail, m.Name + " lacks the key that this peer seals with",
				"it cannot read what comes from here; its keys are " + strings.Join(m.Keys, ", ") + ", and this peer seals with " + self.Keys[0], oneKey})
		case !slices.Contains(self.Keys, m.Keys[0]):
			told[m.Keys[0]] = true
			found = append(found, Finding{"keys", Fail, "this peer lacks the key that " + m.Name + " seals with",
				"it cannot read what comes from there; its keys are " + strings.Join(self.Keys, ", ") + ", and " + m.Name + " seals with " + m.Keys[0],
				strings.Replace(oneKey, "there", "here", 1)})
		}
	}
	all := append([]agent.Member{self}, others...)
	for _, m := range all {
		for _, id := range m.Keys {
			if !told[id] {
				told[id] = true
				found = append(found, spread(id, all)...)
			}
		}
	}
	if slices.ContainsFunc(found, func(f Finding) bool { return f.Level == Fail }) {
		return found
	}
	return append(found, sealing(all)...)
}

// keysApart reports whether this peer and m cannot read each other, one way or both.
func (k *Known) keysApart(m agent.Member) bool {
	for _, self := range k.Members {
		if self.Self && len(self.Keys) > 0 && len(m.Keys) > 0 {
			return !slices.Contains(m.Keys, self.Keys[0]) || !slices.Contains(self.Keys, m.Keys[0])
		}
	}
	return false
}

// spread finds a key that some peers hold and others lack.
func spread(id string, all []agent.Member) []Finding {
	var with, without []string
	for _, m := range all {
		name := m.Name
		if m.State != "alive" {
			name += " (down)"
		}
		if slices.Contains(m.Keys, id) {
			with = append(with, name)
		} else {
			without = append(without, name)
		}
	}
	if without == nil {
		return nil
	}
	return []Finding{{"keys", Warn, "key " + id + " is not at " + strings.Join(without, ", "),
		"it is at " + strings.Join(with, ", ") + ", and the change of keys is not done: first every peer holds the new one, then every peer seals with it, then the old one goes",
		"if it is the new key, add it behind the old one where it is not; if it is the old one, take it out where it is; and send SIGHUP there"}}
}

// sealing finds peers that seal with different keys.
func sealing(all []agent.Member) []Finding {
	var with []string
	peers := map[string][]string{}
	for _, m := range all {
		if m.State == "alive" {
			if id := m.Keys[0]; peers[id] == nil {
				with = append(with, id)
			}
			peers[m.Keys[0]] = append(peers[m.Keys[0]], m.Name)
		}
	}
	if len(with) < 2 {
		return nil
	}
	var parts []string
	for _, id := range with {
		parts = append(parts, "with "+id+" by "+strings.Join(peers[id], ", "))
	}
	return []Finding{{"keys", Warn, "not all peers seal with the same key", "sealed is " + strings.Join(parts, "; "),
		"make the new key the first in the --key-file of every peer, and send SIGHUP; only then take the old one out"}}
}
