package mcpserver

import (
	"strings"

	"github.com/sentinel-peer/sentinel-peer/internal/api"
	"github.com/sentinel-peer/sentinel-peer/internal/queue"
)

// search finds keys whose name or value has words of a text in it, of any case: first
// those that have most of them. A star in a word stands for anything.
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
			return 0 // of work queues, which have tools of their own
		}
		_, k := nameOf(f.Key)
		return q.score(k, textOf(f))
	}, true)
	if err != nil {
		return nil, err
	}
	out := fields{"pattern", text}
	if n != "" && !values {
		names, err := c.names(all, limit)
		return append(out, names...), err
	}
	results, more, err := c.page(all, limit, func(f found) any {
		n, k := nameOf(f.Key)
		if !values {
			return fields{"key", k, "namespace", n}
		}
		return append(append(fields{"key", k}, f.glimpse()...), "namespace", n, "score", f.reads,
			"similarity", float64(f.score)/float64(len(q)), "updatedAt", timestamp(f.Entry.Stamp().Time()))
	})
	return append(append(out, "results", results, "count", len(results)), more...), err
}

// words are those of a search, and at the end all of them as one phrase. Each is the
// parts between its stars, in lower case.
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

// score is how many of the words a key or its value has.
func (w words) score(key, value string) (n int) {
	key, value = strings.ToLower(key), strings.ToLower(value)
	for _, parts := range w {
		if contains(key, parts) || contains(value, parts) {
			n++
		}
	}
	return n
}

// contains says whether all parts come one after the other in text.
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
