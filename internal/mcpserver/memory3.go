package mcpserver

import (
	"strconv"

	"github.com/sentinel-peer/sentinel-peer/crdt"
)

// The tools of claude-flow 3.x. Their answers carry its names beside those of 2.x.

func memoryStore(c *call) (fields, error) {
	n, err := c.namespace(defaultNS)
	if err != nil {
		return nil, err
	}
	if !c.flag("upsert", true) {
		c.given["if_version"] = []byte(`"0"`)
	}
	out, err := c.store(n)
	return append(fields{"namespace", n, "storedAt", now(), "backend", storage}, out...), err
}

func memoryRetrieve(c *call) (fields, error) {
	n, err := c.namespace(defaultNS)
	if err != nil {
		return nil, err
	}
	out, err := c.retrieve(n)
	return append(fields{"namespace", n, "backend", storage}, out...), err
}

func memoryDelete(c *call) (fields, error) {
	n, err := c.namespace(defaultNS)
	if err != nil {
		return nil, err
	}
	out, err := c.remove(n)
	return append(fields{"namespace", n}, out...), err
}

func memoryList(c *call) (fields, error) {
	n, err := c.namespace("")
	if err != nil {
		return nil, err
	}
	limit, offset := c.count("limit", 50, maxListed), int(c.number("offset", 0))
	if c.fault != nil {
		return nil, c.fault
	}
	all, err := c.find(n, func(string, crdt.Entry) bool { return true }, false)
	if err != nil {
		return nil, err
	}
	skipped := min(max(offset, 0), len(all))
	entries, more, err := c.page(all[skipped:], limit, func(f found) fields {
		n, k := nameOf(f.key)
		_, created := c.s.authorOf(f.key, f.entry)
		return fields{"key", k, "namespace", n, "storedAt", timestamp(created), "updatedAt", timestamp(f.entry.Stamp().Time()),
			"accessCount", c.s.reads.of(f.key), "hasEmbedding", false}
	})
	out := fields{"entries", entries, "total", len(all), "limit", limit, "offset", offset, "backend", storage}
	if len(more) > 2 {
		out = append(out, "hint", "more: call again with offset "+strconv.Itoa(skipped+len(entries)))
	}
	return out, err
}
