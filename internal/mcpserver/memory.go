package mcpserver

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/internal/api"
)

// storage is the name of the kind of store in answers.
const storage = "crdt-gossip"

const (
	maxNamespace = 200 // bytes
	maxListed    = 1000
	longest      = 100 * 365 * 24 * time.Hour // the longest TTL
)

// memoryUsage is the tool memory_usage of claude-flow 2.x.
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
		out, _, err = c.retrieve(n)
	case "list":
		out, err = c.list(n)
	case "delete":
		out, err = c.remove(n)
	case "expire":
		out, err = expire(c, n)
	case "search":
		out, err = c.search(n, c.either("value", "pattern", "query"), 50)
	default:
		return nil, &failure{Code: "bad-request", Text: fmt.Sprintf("Unknown memory action: %s", shorten(c.action, 64)),
			Hint: "action is one of store, retrieve, list, delete, expire, search"}
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

// namespace returns the namespace that the call names, or the one for calls that name none.
func (c *call) namespace(absent string) (string, error) {
	n := cmp.Or(c.text("namespace"), absent)
	if len(n) > maxNamespace {
		return "", &failure{Code: "bad-key", Text: fmt.Sprintf("the namespace is %d bytes long", len(n)), Hint: "use a namespace of up to 200 bytes"}
	}
	return n, nil
}

// key returns the key that the call names, and the key of the peer where it is stored.
func (c *call) key(n string) (k, key string, err error) {
	k = c.required("key")
	if c.fault == nil {
		key, err = keyOf(n, k)
	}
	return k, key, cmp.Or(c.fault, err)
}

// written returns the request of a write to key, with its TTL, its condition and its author.
func (c *call) written(key string) (api.Request, error) {
	r := api.Request{Key: key, Query: url.Values{}}
	if c.number("ttl", 0) < 0 {
		c.fail("ttl: want seconds, 0 for a key that never expires")
		return r, c.fault
	}
	ttl := c.seconds("ttl", 0, longest)
	if ttl > 0 {
		r.Query.Set("ttl", ttl.String())
	}
	if s := c.text("if_version"); s == "0" {
		r.If = &api.Condition{Absent: true}
	} else if s != "" {
		v, err := crdt.ParseVersion(s)
		if err != nil {
			return r, &failure{Code: "bad-request", Text: "if_version: " + err.Error(), Hint: `pass the version that retrieve returned, or "0" if the key must not exist`}
		}
		r.If = &api.Condition{Among: []crdt.Version{v}}
	}
	r.Beside = c.sign(key, ttl)
	return r, nil
}

func (c *call) store(n string) (fields, error) {
	k, key, err := c.key(n)
	if err != nil {
		return nil, err
	}
	if !c.has("value") {
		return nil, &failure{Code: "bad-request", Text: "value is missing", Hint: "pass the text or JSON to store as value"}
	}
	r, err := c.written(key)
	if err == nil {
		err = api.Find("kv_put").Check(c.ctx, r) // before the answer reveals the type of the key
	}
	if err != nil {
		return nil, err
	}
	kind, err := c.kind(key)
	if err != nil {
		return nil, err
	}
	v, err := c.value(kind)
	if err != nil {
		return nil, err
	}
	name, body := "kv_put", any(v)
	if kind == crdt.Counter {
		var by int64
		if v.Decode(&by) != nil || r.Query.Has("ttl") || r.If != nil {
			return nil, &failure{Code: "bad-value", Text: "a counter takes a whole number, which is added, and neither ttl nor if_version", Hint: "store the number to add"}
		}
		name, body = "counter_add", fields{"add", by}
	} else if c.has("type") {
		r.Query.Set("type", kind.String())
	}
	res, err := c.do(name, r, body)
	if err != nil {
		return nil, err
	}
	return fields{"key", k, "stored", true, "size", size(v), "id", n + ":" + k, "version", res.Version.String()}, nil
}

// kind returns the type that a key has, or gets by this call.
func (c *call) kind(key string) (crdt.Kind, error) {
	if s := c.text("type"); s != "" {
		kind, err := crdt.ParseKind(s)
		if err != nil || kind == crdt.Custom {
			return kind, &failure{Code: "bad-request", Text: fmt.Sprintf("type %q is unknown", shorten(s, 64)), Hint: "type is one of register, set, counter, max, object"}
		}
		return kind, nil
	}
	a := c.s.cfg.Agent
	if rule, ok := a.Rules().Match(key); ok {
		return rule.Kind, nil
	}
	if e, ok := a.Entry(key); ok {
		return e.Kind(), nil
	}
	return crdt.Register, nil
}

// value returns the value to store. Only a register keeps text that is JSON as text.
func (c *call) value(kind crdt.Kind) (crdt.Value, error) {
	raw := c.given["value"]
	var text string
	if kind != crdt.Register && json.Unmarshal(raw, &text) == nil && json.Valid([]byte(text)) {
		raw = json.RawMessage(text)
	}
	return crdt.JSONValue(raw)
}

// size returns the length of a value as the server of claude-flow 2.x counts it: in UTF-16 units.
func size(v crdt.Value) int {
	return len(utf16.Encode([]rune(plain(json.RawMessage(v.String())))))
}

// retrieve answers with the value of a key. It also returns the key, nil if it does not exist.
func (c *call) retrieve(n string) (fields, *api.Found, error) {
	k, key, err := c.key(n)
	if err != nil {
		return nil, nil, err
	}
	query := c.partly()
	if c.fault != nil {
		return nil, nil, c.fault
	}
	if c.has("limit") {
		if out, err := entries(c, key, query); out != nil || err != nil {
			return append(fields{"key", k}, out...), nil, err
		}
	}
	res, err := c.do("kv_get", api.Request{Key: key, Query: query}, nil)
	if errors.Is(err, agent.ErrNotFound) {
		out := fields{"key", k, "value", nil, "found", false}
		if others := c.elsewhere(n, k); others != nil {
			out = append(out, "other_namespaces", others, "hint", "these namespaces have a key of that name")
		}
		return out, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	f := &api.Found{Key: key, Entry: res.Entry, Value: res.Body.(crdt.Value)}
	c.s.reads.count(key)
	if len(query) > 0 {
		part, err := c.part("value", "", shown(f.Value))
		return append(append(fields{"key", k}, part...), "found", true), f, err
	}
	version := res.Version.String()
	part, err := c.part("value", version, shown(f.Value))
	return append(append(fields{"key", k}, part...), "found", true, "version", version, "updatedAt", timestamp(f.Entry.Stamp().Time())), f, err
}

// partly returns the parameters of kv_get for a part of a set or an object, none for the whole.
func (c *call) partly() url.Values {
	query := url.Values{}
	if path := c.text("path"); path != "" {
		query.Set("path", path)
	}
	if c.has("has") {
		query.Set("has", string(c.given["has"]))
	}
	if c.flag("len", false) {
		query.Set("len", "true")
	}
	return query
}

// part answers with a value, or with as much of its text after the cursor as one answer holds.
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
			return nil, &failure{Code: "bad-request", Text: fmt.Sprintf("cursor %q is not one of this value", shorten(cursor, 64)), Hint: "pass next_cursor of the previous answer, or no cursor to start"}
		}
		from = n
	}
	part := fits(text[from:], budget)
	out := fields{name, part, "size", len(text), "offset", from}
	if end := from + len(part); end < len(text) {
		out = append(out, "truncated", true, "next_cursor", version+"+"+strconv.Itoa(end),
			"hint", name+" is a part of the text; call again with next_cursor as cursor for the next part")
	}
	return out, nil
}

// mostNamespaces is how many namespaces elsewhere looks into, in the order of their names.
const mostNamespaces = 1000

// elsewhere returns up to five other namespaces that have a key k. It jumps from namespace to
// namespace, and does not look at the other keys.
func (c *call) elsewhere(n, k string) (list []string) {
	after := ""
	for range mostNamespaces {
		next, err := c.matching(memory+"/**", "after", after, "limit", "1")
		if err != nil || len(next) == 0 {
			return list
		}
		other, _ := nameOf(next[0].Key)
		place := memory + "/" + segment(other)
		after = crdt.StartingWith(place + "/").To
		if there, err := c.matching(crdt.Literal(place + "/" + k)); err == nil && len(there) > 0 && other != n {
			if list = append(list, other); len(list) == 5 {
				return list
			}
		}
	}
	return list
}

// expire makes what a key holds end after ttl, or never if that is 0. The record of its author ends with it.
func expire(c *call, n string) (fields, error) {
	k, key, err := c.key(n)
	if err != nil {
		return nil, err
	}
	if !c.has("ttl") {
		return nil, &failure{Code: "bad-request", Text: "ttl is missing", Hint: "pass the seconds until the key ends as ttl, or 0 if it stays"}
	}
	r, err := c.written(key)
	if err != nil {
		return nil, err
	}
	name := "deadline_delete"
	r.Beside = func(tx *agent.Tx) { tx.Persist(authors + key) }
	if ttl := c.seconds("ttl", 0, longest); ttl > 0 {
		name = "deadline_set"
		r.Beside = func(tx *agent.Tx) { tx.Expire(authors+key, ttl) }
	}
	res, err := c.do(name, r, nil)
	if err != nil {
		return nil, err
	}
	out := fields{"key", k, "expires", nil}
	if at := res.Body.(api.Deadline).At; at != nil {
		out[3] = timestamp(*at)
	}
	return out, nil
}

func (c *call) remove(n string) (fields, error) {
	k, key, err := c.key(n)
	if err != nil {
		return nil, err
	}
	r, err := c.written(key)
	if err != nil {
		return nil, err
	}
	r.Query.Del("ttl")
	r.Beside = func(tx *agent.Tx) { tx.Delete(authors + key) }
	res, err := c.do("kv_delete", r, nil)
	if err != nil {
		return nil, err
	}
	return fields{"key", k, "deleted", res.Body.(api.Deleted).Deleted}, nil
}
