package dashboard

import (
	"fmt"
	"time"

	"github.com/sentinel-peer/sentinel-peer/agent"
)

// verdict is the first line of every page: one sentence of what this peer knows, and no
// more. It knows which of its writes another has not acknowledged, and when it last saw
// another's state to be equal to its own; it cannot know what other two owe each other.
type verdict struct {
	Level  string // good, wait or bad; beside it stands a word, for colour alone says nothing
	Text   string // changes only with the state: it is read aloud
	Detail string // changes all the time
}

// Word names the level.
func (v verdict) Word() string {
	return map[string]string{"good": "All well", "wait": "Under way", "bad": "Look here"}[v.Level]
}

// judge says how the cluster is, as far as this peer knows.
func judge(members []agent.Member, now time.Time) verdict {
	var self string
	var dead, odd, waiting []string
	var gone, agreed time.Time // since when the first is dead; the oldest agreement
	var worst agent.Member     // lags most
	alive := 0
	for _, m := range members {
		switch {
		case m.State == "dead":
			dead = append(dead, m.Name)
			if gone.IsZero() || m.Since.Before(gone) {
				gone = m.Since
			}
			continue
		case m.State != "alive":
			continue // it left on purpose
		}
		alive++
		for _, p := range m.Problems {
			odd = append(odd, m.Name+": "+p)
		}
		if m.Self {
			self = m.Name
			continue
		}
		if !m.Agrees {
			waiting = append(waiting, m.Name)
		}
		if m.Lag > worst.Lag {
			worst = m
		}
		if agreed.IsZero() || m.AgreedAt.Before(agreed) {
			agreed = m.AgreedAt
		}
	}
	head := fmt.Sprintf("%d of %d alive", alive, alive+len(dead))
	switch {
	case len(dead) > 0:
		return verdict{"bad", fmt.Sprintf("%s: %s out of reach.", head, list(dead)), "Since " + ago(now.Sub(gone)) + "."}
	case len(odd) > 0:
		return verdict{"bad", head + ", but " + list(odd) + ".", ""}
	case alive < 2:
		return verdict{"good", "Alone: no other peer is known here.", ""}
	case len(waiting) == 0:
		return verdict{"good", head + ", converged.", "Each was compared with " + self + " within the last " + ago(now.Sub(agreed)) + ", and held the same."}
	case worst.Lag > 0:
		return verdict{"wait", fmt.Sprintf("%s. %s lacks writes of %s.", head, worst.Name, self), plural(worst.Lag, "write") + " not acknowledged."}
	}
	return verdict{"wait", head + ", changes under way.", fmt.Sprintf("All writes of %s are acknowledged by %s; a comparison is yet to come.", self, list(waiting))}
}
