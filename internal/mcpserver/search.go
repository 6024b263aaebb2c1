package mcpserver

import (
	"strings"

	"github.com/sentinel-peer/sentinel-peer/internal/api"
	"github.com/sentinel-peer/sentinel-peer/internal/queue"
)

// search finds keys whose name or value contains words of a text, in any case. Keys with more of
// the words come first. A star in a word stands for any text.
func (c *call) search(n, text string, most int) (fields, error) {
	limit, values := c.count("limit", most, maxListed), c.flag("values", true)
	if text == "" {
		c.fail("the text to search for is missing")
	}
	if c.fault != nil {
		return nil, c.fault
	}
	q := wordsOf(text)
	all, err := c.find(n, func(f api.Found) int {
		if _, records := queue.ParseKey(f.Key); records && n == "" {
			return 0 // keys of work queues have tools of their own
		}
		_, k := nameOf(f.Key)
		return q.score(k, textOf(f))
	}, true, limit)
	if err != nil {
		return nil, err
	}
	out := fields{"pattern", text}
	if n != "" && !values {
		return append(out, c.names(all, limit)...), nil
	}
	results, more := c.page(all, limit, func(f found) any {
		n, k := nameOf(f.Key)
		if !values {
			return fields{"key", k, "namespace", n}
		}
		return append(append(fields{"key", k}, f.glimpse()...), "namespace", n, "score", f.reads,
			"similarity", float64(f.score)/float64(len(q)), "updatedAt", timestamp(f.Entry.Stamp().Time()))
	})
	return append(append(out, "results", results, "count", len(results)), more...), nil
}

// words are the words of a search, and at the end all of them as one phrase. Each is the list of
// the parts between its stars, in lower case.
type words [][]string

func wordsOf(text string) (w words) {
	text = strings.ToLower(text)
	list := strings.Fields(text)
	if len(list) > 1 {
		for _, word := range list {
			if strings.Trim(word, "*") != "" {
				w = append(w, strings.Split(word, "*"))
			}
		}
	}
	return append(w, strings.Split(text, "*"))
}

// score returns how many of the words a key or its value contains.
func (w words) score(key, value string) (n int) {
	key, value = strings.ToLower(key), strings.ToLower(value)
	for _, parts := range w {
		if contains(key, parts) || contains(value, parts) {
			n++
		}
	}
	return n
}

// contains reports whether the parts occur in text one after the other.
func contains(text string, parts []string) bool {
	for _, part := range parts {
		i := strings.Index(text, part)
		if i < 0 {
			return false
		}
		text = text[i+len(part):]
	}
	return true
}
