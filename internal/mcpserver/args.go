package mcpserver

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sentinel-peer/sentinel-peer/internal/api"
	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// args are the arguments that a client gave a tool. They are read liberally: models send numbers
// as text, text as numbers, null for what they omit, and the argument names of other tools.
type args struct {
	given    map[string]json.RawMessage
	warnings []string
	fault    error // the first fault found
}

// parse reads the arguments of a tool that knows the given names.
func parse(raw json.RawMessage, known []string) *args {
	a := &args{}
	raw = bytes.TrimSpace(raw)
	var text string
	if wire.CheckText(raw) == nil && json.Unmarshal(raw, &text) == nil && text != "" { // the client encoded the object twice
		raw = []byte(text)
	}
	if err := wire.CheckText(raw); err != nil {
		a.fail("the arguments: %v", err)
	} else if len(raw) > 0 {
		if err := json.Unmarshal(raw, &a.given); err != nil {
			a.fail("the arguments are not a JSON object: %v", err)
		}
	}
	var unknown []string
	for name, v := range a.given {
		switch {
		case string(v) == "null" && name != "value":
			delete(a.given, name)
		case !slices.Contains(known, name):
			unknown = append(unknown, strconv.QuoteToASCII(shorten(name, 64)))
			if meant := mistyped(name, known); meant != "" {
				a.fail("unknown argument %s: did you mean %q?", strconv.QuoteToASCII(shorten(name, 64)), meant)
			}
		}
	}
	if unknown != nil {
		slices.Sort(unknown)
		a.warn("ignored unknown arguments: %s", strings.Join(unknown[:min(len(unknown), 20)], ", "))
	}
	return a
}

// mistyped returns the known argument that an unknown one is probably a misspelling of. Ignoring a
// misspelt ttl, say, would keep a value for ever. Arguments of other tools are no misspellings.
func mistyped(name string, known []string) string {
	stem, _, unit := strings.Cut(name, "_")
	if unit && slices.Contains(known, stem) {
		return stem // ttl_s
	}
	return api.Nearest(shorten(name, 64), known)
}

func (a *args) warn(format string, list ...any) {
	a.warnings = append(a.warnings, fmt.Sprintf(format, list...))
}

func (a *args) fail(format string, list ...any) {
	if a.fault == nil {
		a.fault = &failure{Code: "bad-request", Text: fmt.Sprintf(format, list...), Hint: "correct the arguments and call again"}
	}
}

func (a *args) has(name string) bool { return a.given[name] != nil }

// text returns an argument as text, "" if it was not given.
func (a *args) text(name string) string {
	raw := a.given[name]
	if raw == nil {
		return ""
	}
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	if raw[0] == '{' || raw[0] == '[' {
		a.fail("%s: want text", name)
	}
	return string(raw)
}

// required returns an argument that must be given, as text.
func (a *args) required(name string) string {
	s := a.text(name)
	if s == "" {
		a.fail("%s is missing", name)
	}
	return s
}

// either returns the first of several arguments that was given.
func (a *args) either(names ...string) string {
	for _, name := range names {
		if s := a.text(name); s != "" {
			return s
		}
	}
	return ""
}

// number returns an argument that is a number, or text that reads as one.
func (a *args) number(name string, absent float64) float64 {
	s := strings.TrimSpace(a.text(name))
	if s == "" {
		return absent
	}
	n, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(n) || math.IsInf(n, 0) {
		a.fail("%s: %q is not a number", name, shorten(s, 64))
		return absent
	}
	return n
}

// count returns a whole number from 1 to most. A number beyond that is replaced by the nearest.
func (a *args) count(name string, absent, most int) int {
	n := a.number(name, float64(absent))
	if within := min(max(n, 1), float64(most)); within != n {
		a.warn("%s was changed to be within 1 to %d", name, most)
		n = within
	}
	return int(n)
}

// whole returns a whole number from least to most.
func (a *args) whole(name string, absent, least, most int) int {
	n := a.number(name, float64(absent))
	if n != math.Trunc(n) || n < float64(least) || n > float64(most) {
		a.fail("%s: want a whole number from %d to %d", name, least, most)
		return absent
	}
	return int(n)
}

// seconds returns a duration from 0 to most. A number beyond that is replaced by the nearest.
func (a *args) seconds(name string, absent, most time.Duration) time.Duration {
	n := a.number(name, absent.Seconds())
	if within := min(max(n, 0), most.Seconds()); within != n {
		a.warn("%s was changed to be within 0 to %v seconds", name, most.Seconds())
		n = within
	}
	return time.Duration(n * float64(time.Second))
}

// texts returns a list that was given as an array, or as text with commas between.
func (a *args) texts(name string) (list []string) {
	if raw := a.given[name]; raw == nil || json.Unmarshal(raw, &list) == nil {
		return list
	}
	for part := range strings.SplitSeq(a.text(name), ",") {
		list = append(list, strings.TrimSpace(part))
	}
	return list
}

func (a *args) flag(name string, absent bool) bool {
	s := strings.ToLower(a.text(name))
	if s == "" {
		return absent
	}
	b, err := strconv.ParseBool(s)
	if err != nil {
		a.fail("%s: want true or false", name)
	}
	return b
}

// shorten cuts text to n bytes, and adds a sign that it did.
func shorten(s string, n int) string {
	if head := prefix(s, n); len(head) < len(s) {
		return head + "…"
	}
	return s
}

// prefix returns as many whole characters of s as n bytes hold.
func prefix(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && s[n]&0xc0 == 0x80 { // n is within a character
		n--
	}
	return s[:n]
}
