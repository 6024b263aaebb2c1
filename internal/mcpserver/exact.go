package mcpserver

import (
	"bytes"
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

const (
	maxExact     = 20      // the most numbers that one answer lists
	maxSafe      = 1 << 53 // whole numbers up to this one are exact as floats
	maxExactPath = 200     // bytes
)

var longNumber = regexp.MustCompile(`[0-9]{16}`)

// exact lists, by their JSON pointers (RFC 6901), the whole numbers of an answer that a reader
// which reads all numbers as floats, such as JavaScript, would change.
func (c *call) exact(f fields) (exact fields) {
	raw, err := encode(f)
	if err != nil || !longNumber.Match(raw) {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var whole any
	if d.Decode(&whole) != nil {
		return nil
	}
	more := 0
	var walk func(at string, v any)
	walk = func(at string, v any) {
		switch v := v.(type) {
		case json.Number:
			if safe(v.String()) {
				return
			}
			if len(exact) == 2*maxExact || len(at) > maxExactPath {
				more++
				return
			}
			exact = append(exact, at, v.String())
		case []any:
			for i, x := range v {
				walk(at+"/"+strconv.Itoa(i), x)
			}
		case map[string]any:
			for _, name := range slices.Sorted(maps.Keys(v)) {
				walk(at+"/"+strings.NewReplacer("~", "~0", "/", "~1").Replace(name), v[name])
			}
		}
	}
	walk("", whole)
	if more > 0 {
		c.warn("%d more numbers are beyond 2^53: read them with a parser that keeps them exact", more)
	}
	return exact
}

// safe reports whether a float holds a number exactly.
func safe(number string) bool {
	if n, err := strconv.ParseInt(number, 10, 64); err == nil {
		return -maxSafe <= n && n <= maxSafe
	}
	return strings.ContainsAny(number, ".eE") // the number is stored as a float
}
