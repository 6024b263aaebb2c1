package mcpserver

import (
	"encoding/json"
	"strconv"

	"github.com/sentinel-peer/sentinel-peer/internal/api"
)

// These are the tools of claude-flow 3.x. Their answers have its field names beside those of 2.x.

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
	out, f, err := c.retrieve(n)
	about := fields{"namespace", n, "backend", storage}
	if f != nil {
		by, created := c.s.authorOf(f.Key, f.Entry)
		about = append(about, "tags", append([]string{}, by.Tags...), "storedAt", timestamp(created),
			"accessCount", c.s.reads.of(f.Key), "hasEmbedding", false)
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
	all, err := c.find(n, every, false, offset+limit)
	if err != nil {
		return nil, err
	}
	skipped := min(offset, len(all.first))
	all.first = all.first[skipped:]
	entries, more := c.page(all, limit, func(f found) any {
		n, k := nameOf(f.Key)
		_, created := c.s.authorOf(f.Key, f.Entry)
		return fields{"key", k, "namespace", n, "storedAt", timestamp(created), "updatedAt", timestamp(f.Entry.Stamp().Time()),
			"accessCount", c.s.reads.of(f.Key), "hasEmbedding", false, "size", len(textOf(f.Found))}
	})
	out := fields{"entries", entries, "total", all.total, "limit", limit, "offset", offset, "backend", storage}
	if len(more) > 2 {
		out = append(out, "hint", "there are more: call again with offset "+strconv.Itoa(skipped+len(entries)))
	}
	return out, nil
}

// textOf returns the value of a key as text, "" if it has none.
func textOf(f api.Found) string {
	if f.Err != nil {
		return ""
	}
	return plain(json.RawMessage(f.Value.String()))
}
