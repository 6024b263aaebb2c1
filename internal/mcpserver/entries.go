package mcpserver

import (
	"errors"
	"maps"
	"net/url"
	"strconv"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/internal/api"
)

// entries answers with a page of the elements of a set, or of the fields of an object. It answers with
// nothing if the key is absent or of another type. query is that of kv_get, without the page.
func entries(c *call, key string, query url.Values) (fields, error) {
	query = maps.Clone(query)
	query.Set("after", c.text("cursor"))
	for limit := c.count("limit", 0, maxListed); ; {
		if query.Set("limit", strconv.Itoa(limit)); c.fault != nil {
			return nil, c.fault
		}
		res, err := c.do("kv_get", api.Request{Key: key, Query: query}, nil)
		if _, other := errors.AsType[*crdt.TypeError](err); other || errors.Is(err, agent.ErrNotFound) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		list, next := glimpsesOf(res.Body)
		if n := fitting(list, budget); n < len(list) {
			limit = n
			continue
		}
		c.s.reads.count(key)
		return cut(fields{"entries", list, "count", len(list), "found", true}, next), nil
	}
}

// glimpsesOf shows the entries of a page, with the values that are long cut.
func glimpsesOf(page any) (list []any, next string) {
	list = []any{}
	switch page := page.(type) {
	case api.List[crdt.Value]:
		next = page.Next
		for _, v := range page.Items {
			value, cut := glimpse(v)
			if cut {
				value = fields{"value", value, "truncated", true}
			}
			list = append(list, value)
		}
	case api.List[api.Field]:
		next = page.Next
		for _, f := range page.Items {
			value, cut := glimpse(f.Value)
			entry := fields{"name", f.Name, "value", value}
			if cut {
				entry = append(entry, "truncated", true)
			}
			list = append(list, entry)
		}
	}
	return list, next
}
