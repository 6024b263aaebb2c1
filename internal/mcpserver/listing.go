package mcpserver

import (
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/internal/api"
)

// found is a key of a listing.
type found struct {
	api.Found
	score int // how many words of a search it has
	reads uint64
}

// place is the place of a found key in the order of a listing.
type place struct {
	score int
	reads uint64
	stamp clock.Timestamp
	key   string
}

func (f found) place() place { return place{f.score, f.reads, f.Entry.Stamp(), f.Key} }

// compare puts keys with more of the words first, then those that were read more often, if that
// counts, then newer ones.
func (p place) compare(o place) int {
	return cmp.Or(cmp.Compare(o.score, p.score), cmp.Compare(o.reads, p.reads), cmp.Compare(o.stamp, p.stamp), cmp.Compare(p.key, o.key))
}

func (p place) cursor() string {
	return base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%d %d %d %s", p.score, p.reads, uint64(p.stamp), p.key))
}

func parsePlace(s string) (p place, err error) {
	raw, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		return p, err
	}
	part := strings.SplitN(string(raw), " ", 4)
	if len(part) < 4 {
		return p, errors.New("too short")
	}
	p.key = part[3]
	var stamp uint64
	_, err = fmt.Sscan(strings.Join(part[:3], " "), &p.score, &p.reads, &stamp)
	p.stamp = clock.Timestamp(stamp)
	return p, err
}

// matching returns the keys that match a glob and that the caller may read.
func (c *call) matching(pattern string, more ...string) ([]api.Found, error) {
	query := url.Values{"match": {pattern}}
	for i := 0; i < len(more); i += 2 {
		query.Set(more[i], more[i+1])
	}
	res, err := c.do("kv_find", api.Request{Query: query}, nil)
	if err != nil {
		return nil, err
	}
	return res.Body.([]api.Found), nil
}

// listing is the beginning of a list of keys behind a cursor, in their order.
type listing struct {
	first []found
	total int // number of keys of the whole list
}

// find returns the keys of a namespace whose score is not 0: the first ones behind the cursor of the
// call, up to most and one. It looks at all keys of the namespace, and keeps no more than twice as
// many as it returns.
func (c *call) find(n string, score func(api.Found) int, byReads bool, most int) (l listing, err error) {
	var after *place
	if s := c.text("cursor"); s != "" {
		p, err := parsePlace(s)
		if err != nil {
			return l, &failure{Code: "bad-request", Text: "cursor: this is not one that a listing returned", Hint: "pass next_cursor of the previous answer, or no cursor to start"}
		}
		after = &p
	}
	keep := func() {
		slices.SortFunc(l.first, func(x, y found) int { return x.place().compare(y.place()) })
		if n := most + 1; n < len(l.first) {
			clear(l.first[n:])
			l.first = l.first[:n]
		}
	}
	_, err = c.do("kv_find", api.Request{Query: url.Values{"match": {under(n)}}, Visit: func(x api.Found) bool {
		f := found{Found: x, score: score(x)}
		if f.score == 0 {
			return true
		}
		l.total++
		if byReads {
			f.reads = c.s.reads.of(x.Key)
		}
		if after == nil || f.place().compare(*after) > 0 {
			if l.first = append(l.first, f); len(l.first) >= 2*(most+1) {
				keep()
			}
		}
		return true
	}}, nil)
	keep()
	return l, err
}

// page shows the part of a list up to a limit and the budget.
func (c *call) page(l listing, limit int, show func(found) any) (entries []any, more fields) {
	entries = []any{}
	room := budget
	for i, f := range l.first {
		entry := show(f)
		size := printed(entry)
		if i == limit || i > 0 && size > room {
			return entries, fields{"total", l.total, "truncated", true, "next_cursor", l.first[i-1].place().cursor()}
		}
		room -= size
		entries = append(entries, entry)
	}
	return entries, fields{"total", l.total}
}

// every is the score of keys when all of them are listed.
func every(api.Found) int { return 1 }

func (c *call) list(n string) (fields, error) {
	values := c.flag("values", true)
	limit := c.count("limit", map[bool]int{true: 100, false: maxListed}[values], maxListed)
	if c.fault != nil {
		return nil, c.fault
	}
	all, err := c.find(n, every, false, limit)
	if err != nil {
		return nil, err
	}
	if !values {
		return c.names(all, limit), nil
	}
	entries, more := c.page(all, limit, func(f found) any { return c.s.entry(f) })
	return append(fields{"entries", entries, "count", len(entries)}, more...), nil
}

// names lists the keys of one namespace in the shortest form.
func (c *call) names(all listing, limit int) fields {
	keys, more := c.page(all, limit, func(f found) any {
		_, k := nameOf(f.Key)
		return k
	})
	return append(fields{"keys", keys, "count", len(keys)}, more...)
}

// entry shows a key of a listing.
func (s *Server) entry(f found) fields {
	n, k := nameOf(f.Key)
	by, created := s.authorOf(f.Key, f.Entry)
	return append(append(fields{"key", k}, f.glimpse()...), "namespace", n,
		"metadata", fields{"sessionId", by.Session, "storedBy", by.writer(), "claimed_client", by.Client, "type", f.Entry.Kind().String()},
		"createdAt", timestamp(created), "updatedAt", timestamp(f.Entry.Stamp().Time()),
		"accessCount", s.reads.of(f.Key), "version", f.Entry.Version().String())
}

// glimpse shows the value, cut if it is long.
func (f found) glimpse() fields {
	if f.Err != nil {
		return fields{"value", nil, "error", f.Err.Error()}
	}
	value, cut := glimpse(f.Value)
	if cut {
		return fields{"value", value, "truncated", true}
	}
	return fields{"value", value}
}
