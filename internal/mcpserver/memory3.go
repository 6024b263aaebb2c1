package mcpserver

import (
	"encoding/json"
	"strconv"
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
	c.writer.Tags = c.texts("tags")
	out, err := c.store(n)
	return append(fields{"namespace", n, "storedAt", now(), "hasEmbedding", false, "backend", storage}, out...), err
}

func memoryRetrieve(c *call) (fields, error) {
	n, err := c.namespace(defaultNS)
	if err != nil {
		return nil, err
	}
	out, err := c.retrieve(n)
	about := fields{"namespace", n, "backend", storage}
	if _, key, err := c.key(n); err == nil {
		if e, ok := c.s.cfg.Agent.Entry(key); ok && c.grant.MayRead(key) {
			by, created := c.s.authorOf(key, e)
			about = append(about, "tags", append([]string{}, by.Tags...), "storedAt", timestamp(created),
				"accessCount", c.s.reads.of(key), "hasEmbedding", false)
		}
	}
	return append(about, out...), err
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
	limit, offset := c.count("limit", 50, maxListed), c.whole("offset", 0, 0, maxSafe)
	if c.fault != nil {
		return nil, c.fault
	}
	all, err := c.find(n, every, false)
	if err != nil {
		return nil, err
	}
	skipped := min(offset, len(all))
	entries, more, err := c.page(all[skipped:], limit, func(f found) any {
		n, k := nameOf(f.key)
		_, created := c.s.authorOf(f.key, f.entry)
		return fields{"key", k, "namespace", n, "storedAt", timestamp(created), "updatedAt", timestamp(f.entry.Stamp().Time()),
			"accessCount", c.s.reads.of(f.key), "hasEmbedding", false, "size", c.size(f)}
	})
	out := fields{"entries", entries, "total", len(all), "limit", limit, "offset", offset, "backend", storage}
	if len(more) > 2 {
		out = append(out, "hint", "more: call again with offset "+strconv.Itoa(skipped+len(entries)))
	}
	return out, err
}

// size is how many bytes the value of a key has as text.
func (c *call) size(f found) int {
	v, err := c.s.cfg.Agent.Resolve(f.key, f.entry)
	if err != nil {
		return 0
	}
	return len(plain(json.RawMessage(v.String())))
}
