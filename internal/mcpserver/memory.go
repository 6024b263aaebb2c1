package mcpserver

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/internal/api"
)

// storage is what answers call the kind of store there is.
const storage = "crdt-gossip"

const (
	maxNamespace = 200 // bytes
	maxListed    = 1000
	longest      = 100 * 365 * 24 * time.Hour // TTL
)

// memoryUsage is the tool of that name in claude-flow 2.x.
func memoryUsage(c *call) (fields, error) {
	c.action = strings.ToLower(c.required("action"))
	switch c.action {
	case "write", "set", "put":
		c.action = "store"
	case "read", "get":
		c.action = "retrieve"
	case "del", "remove":
		c.action = "delete"
	}
	n, err := c.namespace(defaultNS)
	if err != nil {
		return nil, err
	}
	var out fields
	switch c.action {
	case "store":
		out, err = c.store(n)
	case "retrieve":
		out, err = c.retrieve(n)
	case "list":
		out, err = c.list(n)
	case "delete":
		out, err = c.remove(n)
	case "search":
		out, err = c.search(n, c.either("value", "pattern", "query"), 50)
	default:
		return nil, &failure{Code: "bad-request", Text: fmt.Sprintf("Unknown memory action: %s", shorten(c.action, 64)),
			Hint: "action is one of store, retrieve, list, delete, search"}
	}
	return append(fields{"action", c.action, "namespace", n, "storage_type", storage}, out...), err
}

func memorySearch(c *call) (fields, error) {
	n, err := c.namespace("")
	if err != nil {
		return nil, err
	}
	return c.search(n, c.either("pattern", "query", "value"), 10)
}

// namespace returns the one that is meant.
func (c *call) namespace(absent string) (string, error) {
	n := cmp.Or(c.text("namespace"), absent)
	if len(n) > maxNamespace {
		return "", &failure{Code: "bad-key", Text: fmt.Sprintf("the namespace is %d bytes long", len(n)), Hint: "use a namespace of up to 200 bytes"}
	}
	return n, nil
}

// key returns the key that is meant, and where it lives.
func (c *call) key(n string) (k, key string, err error) {
	k = c.required("key")
	if c.fault == nil {
		key, err = keyOf(n, k)
	}
	return k, key, cmp.Or(c.fault, err)
}

// options reads what a write may carry.
func (c *call) options(made *crdt.Version) (opts []agent.WriteOption, ttl time.Duration, err error) {
	opts = append(opts, agent.ReportVersion(made))
	if c.number("ttl", 0) < 0 {
		c.fail("ttl: want seconds, 0 for a key that never expires")
		return nil, 0, c.fault
	}
	if ttl = c.seconds("ttl", 0, longest); ttl > 0 {
		opts = append(opts, agent.WithTTL(ttl))
	}
	if s := c.text("if_version"); s == "0" {
		opts = append(opts, agent.IfVersion(0))
	} else if s != "" {
		v, err := crdt.ParseVersion(s)
		if err != nil {
			return nil, 0, &failure{Code: "bad-request", Text: "if_version: " + err.Error(), Hint: `give the version that retrieve answered, or "0" if the key must not exist`}
		}
		opts = append(opts, agent.IfVersion(v))
	}
	return opts, ttl, nil
}

func (c *call) store(n string) (fields, error) {
	k, key, err := c.key(n)
	if err != nil {
		return nil, err
	}
	if !c.has("value") {
		return nil, &failure{Code: "bad-request", Text: "value is missing", Hint: "give the text or JSON to store as value"}
	}
	if err := c.grant.Check(api.Right{Verb: api.Write, Key: key}); err != nil {
		return nil, err
	}
	var made crdt.Version
	opts, ttl, err := c.options(&made)
	if err != nil {
		return nil, err
	}
	entry, existed := c.s.cfg.Agent.Entry(key)
	kind, err := c.kind(key, entry, existed)
	if err != nil {
		return nil, err
	}
	v, err := c.value(kind)
	if err != nil {
		return nil, err
	}
	b := c.s.cfg.Agent.Batch()
	if kind == crdt.Counter {
		var by int64
		if v.Decode(&by) != nil || ttl > 0 || c.has("if_version") {
			return nil, &failure{Code: "bad-value", Text: "a counter takes a whole number, which is added, and neither ttl nor if_version", Hint: "store how much to add"}
		}
		b.Increment(key, by)
	} else {
		if c.has("type") {
			opts = append(opts, agent.WithKind(kind))
		}
		b.Put(key, v, opts...)
	}
	c.sign(b, key, ttl)
	if err := b.Commit(c.ctx); err != nil {
		return nil, err
	}
	if made == 0 { // of a counter
		if e, ok := c.s.cfg.Agent.Entry(key); ok {
			made = e.Version()
		}
	}
	return fields{"key", k, "stored", true, "size", size(v), "id", n + ":" + k, "version", made.String()}, nil
}

// kind returns the type a key has or gets.
func (c *call) kind(key string, e crdt.Entry, existed bool) (crdt.Kind, error) {
	if s := c.text("type"); s != "" {
		kind, err := crdt.ParseKind(s)
		if err != nil || kind == crdt.Custom {
			return kind, &failure{Code: "bad-request", Text: fmt.Sprintf("type %q is unknown", shorten(s, 64)), Hint: "type is one of register, set, counter, max, object"}
		}
		return kind, nil
	}
	if rule, ok := c.s.cfg.Agent.Rules().Match(key); ok {
		return rule.Kind, nil
	}
	if existed {
		return e.Kind(), nil
	}
	return crdt.Register, nil
}

// value reads what to store. Only a register keeps text that is JSON as the text it is.
func (c *call) value(kind crdt.Kind) (crdt.Value, error) {
	raw := c.given["value"]
	var text string
	if kind != crdt.Register && json.Unmarshal(raw, &text) == nil && json.Valid([]byte(text)) {
		raw = json.RawMessage(text)
	}
	return crdt.JSONValue(raw)
}

// size is the length of a value as the 2.x server counts it: UTF-16 units of the text.
func size(v crdt.Value) int {
	return len(utf16.Encode([]rune(plain(json.RawMessage(v.String())))))
}

func (c *call) retrieve(n string) (fields, error) {
	k, key, err := c.key(n)
	if err != nil {
		return nil, err
	}
	if err := c.grant.Check(api.Right{Verb: api.Read, Key: key}); err != nil {
		return nil, err
	}
	a := c.s.cfg.Agent
	e, found := a.Entry(key)
	if !found {
		out := fields{"key", k, "value", nil, "found", false}
		if others := c.elsewhere(n, k); others != nil {
			out = append(out, "other_namespaces", others, "hint", "these namespaces have a key of that name")
		}
		return out, nil
	}
	v, err := a.Resolve(key, e)
	if err != nil {
		return nil, err
	}
	c.s.reads.count(key)
	about := fields{"found", true, "version", e.Version().String(), "updatedAt", timestamp(e.Stamp().Time())}
	part, err := c.part("value", e.Version().String(), shown(v))
	return append(append(fields{"key", k}, part...), about...), err
}

// part answers a value, or as much of its text as one answer holds from the cursor on.
func (c *call) part(name, version string, raw json.RawMessage) (fields, error) {
	cursor := c.text("cursor")
	if cursor == "" && printed(raw) <= budget {
		return fields{name, raw}, nil
	}
	text, from := plain(raw), 0
	if cursor != "" {
		was, at, _ := strings.Cut(cursor, "+")
		n, err := strconv.Atoi(at)
		switch {
		case err == nil && was != version:
			return nil, &failure{Code: "version-conflict", Text: "the value changed while it was read in parts", Current: version, Hint: "retrieve it again without cursor"}
		case err != nil || n < 0 || n > len(text):
			return nil, &failure{Code: "bad-request", Text: fmt.Sprintf("cursor %q is none of this", shorten(cursor, 64)), Hint: "give the next_cursor of the answer before, or none to start"}
		}
		from = n
	}
	part := fits(text[from:], budget)
	out := fields{name, part, "size", len(text), "offset", from}
	if end := from + len(part); end < len(text) {
		out = append(out, "truncated", true, "next_cursor", version+"+"+strconv.Itoa(end),
			"hint", name+" is a part of the text; ask again with cursor for the next")
	}
	return out, nil
}

// elsewhere returns other namespaces with key k that the caller may read.
func (c *call) elsewhere(n, k string) []string {
	keys, err := c.s.cfg.Agent.Keys(memory + "/*/" + literal(k))
	if err != nil {
		return nil
	}
	var list []string
	for _, key := range keys {
		if other, _ := nameOf(key); other != n && c.grant.MayRead(key) && len(list) < 5 {
			list = append(list, other)
		}
	}
	return list
}

func (c *call) remove(n string) (fields, error) {
	k, key, err := c.key(n)
	if err != nil {
		return nil, err
	}
	if err := c.grant.Check(api.Right{Verb: api.Write, Key: key}); err != nil {
		return nil, err
	}
	var made crdt.Version
	opts, _, err := c.options(&made)
	if err != nil {
		return nil, err
	}
	a := c.s.cfg.Agent
	_, existed := a.Entry(key)
	if existed || c.has("if_version") {
		if err := a.Batch().Delete(key, opts...).Delete(authors + key).Commit(c.ctx); err != nil {
			return nil, err
		}
	}
	return fields{"key", k, "deleted", existed}, nil
}

// found is a key of a listing.
type found struct {
	key   string
	entry crdt.Entry
	score int // how many words it has of a search
	reads uint64
}

// place is where a found stands in the order of a listing.
type place struct {
	score int
	reads uint64
	stamp clock.Timestamp
	key   string
}

func (f found) place() place { return place{f.score, f.reads, f.entry.Stamp(), f.key} }

// compare puts what has most of the words first, then what was read most, if that counts,
// then what is newest.
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

// find returns the keys of a namespace that the caller may read and that have a score, in
// order.
func (c *call) find(n string, score func(key string, e crdt.Entry) int, byReads bool) ([]found, error) {
	a := c.s.cfg.Agent
	pattern := under(n)
	if err := c.grant.CheckMatch(pattern); err != nil {
		return nil, err
	}
	keys, err := a.KeysWhere(c.ctx, pattern, c.grant.MayRead)
	if err != nil {
		return nil, err
	}
	var list []found
	for i, key := range keys {
		if i%1000 == 0 && c.ctx.Err() != nil {
			return nil, c.ctx.Err()
		}
		e, ok := a.Entry(key)
		if !ok {
			continue
		}
		f := found{key: key, entry: e, score: score(key, e)}
		if f.score == 0 {
			continue
		}
		if byReads {
			f.reads = c.s.reads.of(key)
		}
		list = append(list, f)
	}
	slices.SortFunc(list, func(x, y found) int { return x.place().compare(y.place()) })
	return list, nil
}

// page shows what of list comes after the cursor, up to a limit and the budget.
func (c *call) page(list []found, limit int, show func(found) any) (entries []any, more fields, err error) {
	entries = []any{}
	total := len(list)
	if s := c.text("cursor"); s != "" {
		after, err := parsePlace(s)
		if err != nil {
			return nil, nil, &failure{Code: "bad-request", Text: "cursor is none of a listing", Hint: "give the next_cursor of the answer before, or none to start"}
		}
		list = slices.DeleteFunc(list, func(f found) bool { return f.place().compare(after) <= 0 })
	}
	room := budget
	for i, f := range list {
		entry := show(f)
		size := printed(entry)
		if i == limit || i > 0 && size > room {
			return entries, fields{"total", total, "truncated", true, "next_cursor", list[i-1].place().cursor()}, nil
		}
		room -= size
		entries = append(entries, entry)
	}
	return entries, fields{"total", total}, nil
}

// every is the score of all keys that are listed.
func every(string, crdt.Entry) int { return 1 }

func (c *call) list(n string) (fields, error) {
	values := c.flag("values", true)
	limit := c.count("limit", map[bool]int{true: 100, false: maxListed}[values], maxListed)
	if c.fault != nil {
		return nil, c.fault
	}
	all, err := c.find(n, every, false)
	if err != nil {
		return nil, err
	}
	if !values {
		return c.names(all, limit)
	}
	entries, more, err := c.page(all, limit, func(f found) any { return c.entry(f) })
	return append(fields{"entries", entries, "count", len(entries)}, more...), err
}

// names lists keys of one namespace as short as can be.
func (c *call) names(all []found, limit int) (fields, error) {
	keys, more, err := c.page(all, limit, func(f found) any {
		_, k := nameOf(f.key)
		return k
	})
	return append(fields{"keys", keys, "count", len(keys)}, more...), err
}

// entry shows a key of a listing.
func (c *call) entry(f found) fields {
	n, k := nameOf(f.key)
	by, created := c.s.authorOf(f.key, f.entry)
	return append(append(fields{"key", k}, c.glimpse(f)...), "namespace", n,
		"metadata", fields{"sessionId", by.Session, "storedBy", by.writer(), "claimed_client", by.Client, "type", f.entry.Kind().String()},
		"createdAt", timestamp(created), "updatedAt", timestamp(f.entry.Stamp().Time()),
		"accessCount", c.s.reads.of(f.key), "version", f.entry.Version().String())
}

func (c *call) glimpse(f found) fields {
	v, err := c.s.cfg.Agent.Resolve(f.key, f.entry)
	if err != nil {
		return fields{"value", nil, "error", err.Error()}
	}
	value, cut := glimpse(v)
	if cut {
		return fields{"value", value, "truncated", true}
	}
	return fields{"value", value}
}
