package dashboard

import (
	"net/url"
	"strconv"

	"github.com/sentinel-peer/sentinel-peer/internal/api"
)

// conflict is a concurrent write that lost, and the write that won.
type conflict struct {
	Key, Href, Path, Rule string
	Winner, Loser         side
}

// conflicts loads the list of the latest conflicts.
func conflicts(v *view) (any, error) {
	type data struct {
		Rows  []conflict
		Total uint64
		Most  int
	}
	match := v.query.Get("match")
	if len(match) > maxQuery {
		return nil, &badQuery{"the pattern is over 1,024 bytes long"}
	}
	if match == "" {
		match = "**"
	}
	rows, err := v.conflicts(match, maxRows)
	return data{rows, v.agent.Stats().Conflicts, maxRows}, err
}

// conflicts returns the latest conflicts of keys that match a pattern.
func (v *view) conflicts(match string, limit int) ([]conflict, error) {
	found, err := do[api.List[api.Conflict]](v, "conflicts", api.Request{Query: url.Values{"match": {match}, "limit": {strconv.Itoa(limit)}}})
	list := make([]conflict, 0, len(found.Items))
	show := func(s api.Side) side { return side{preview(s.Value), s.Writer, s.At} }
	for _, c := range found.Items {
		list = append(list, conflict{c.Key, address("/ui/key", "key", c.Key), c.Path, c.Rule, show(c.Winner), show(c.Loser)})
	}
	return list, err
}
