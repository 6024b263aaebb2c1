package api

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

func get(_ context.Context, a *agent.Agent, r Request) (Response, error) {
	if err := crdt.ValidateKey(r.Key); err != nil {
		return Response{}, err
	}
	if len(r.Query) > 0 {
		return part(a, r)
	}
	e, ok := a.Entry(r.Key)
	if !ok {
		return Response{}, agent.ErrNotFound
	}
	v, err := a.Resolve(r.Key, e)
	return Response{Version: e.Version(), Body: v, Entry: e}, err
}

func alternatives(_ context.Context, a *agent.Agent, r Request) (Response, error) {
	if err := crdt.ValidateKey(r.Key); err != nil {
		return Response{}, err
	}
	others := make(map[string]crdt.Value)
	for kind, v := range a.Alternatives(r.Key) {
		others[kind.String()] = v
	}
	return Response{Body: others}, nil
}

// maxReplicas is the greatest number of other peers for which a write can wait.
const maxReplicas = 1000

// longestTTL is about a century.
const longestTTL = 876_000 * time.Hour

// options reads the options of a write. If made is not nil, the write stores its version there.
func (r Request) options(made *crdt.Version) (opts []agent.WriteOption, replicas int, err error) {
	if made != nil {
		opts = append(opts, agent.ReportVersion(made))
	}
	if s := r.Query.Get("ttl"); s != "" {
		d, err := duration("ttl", s, time.Millisecond, longestTTL)
		if err != nil {
			return nil, 0, err
		}
		opts = append(opts, agent.WithTTL(d))
	}
	if s := r.Query.Get("type"); s != "" {
		k, err := crdt.ParseKind(s)
		if err != nil {
			return nil, 0, bad("no such type %q: want register, set, max, object or custom", s)
		}
		opts = append(opts, agent.WithKind(k))
	}
	if s := r.Query.Get("replicas"); s != "" {
		if replicas, err = strconv.Atoi(s); err != nil || replicas < 0 || replicas > maxReplicas {
			return nil, 0, bad("replicas %q: want 0 to %d, the number of other peers that must have the write", s, maxReplicas)
		}
	}
	return opts, replicas, nil
}

// Condition is what a write demands of the version that its key has on this peer. All fields that
// are set must hold.
type Condition struct {
	Among          []crdt.Version // the version is one of these
	NotAmong       []crdt.Version // the version is none of these
	Exists, Absent bool
}

// holds reports whether the condition holds for a version, which is 0 if the key is absent.
func (c *Condition) holds(have crdt.Version) bool {
	return (len(c.Among) == 0 || slices.Contains(c.Among, have)) && !slices.Contains(c.NotAmong, have) &&
		(have != 0 || !c.Exists) && (have == 0 || !c.Absent)
}

// onCondition checks the condition of a write of r.Key now. It adds the option that the write is
// made only if the key still has that version.
func (r Request) onCondition(a *agent.Agent, opts []agent.WriteOption) ([]agent.WriteOption, error) {
	if r.If == nil {
		return opts, nil
	}
	have, _ := a.Version(r.Key)
	if !r.If.holds(have) {
		return nil, &ConditionError{r.Key, have}
	}
	return append(opts, agent.IfVersion(have)), nil
}

// ConditionError is the error of a write whose condition does not hold.
type ConditionError struct {
	Key  string
	Have crdt.Version // the key's version; 0 if it is absent
}

// Error names the key and its version.
func (e *ConditionError) Error() string {
	if e.Have == 0 {
		return fmt.Sprintf("key %q is absent, so the condition of the write does not hold", e.Key)
	}
	return fmt.Sprintf("key %q has version %s, so the condition of the write does not hold", e.Key, e.Have)
}

func put(ctx context.Context, a *agent.Agent, r Request) (Response, error) {
	return write(ctx, a, r, func(v crdt.Value, opts []agent.WriteOption) error {
		return r.update(ctx, a, func(tx *agent.Tx) { tx.Put(r.Key, v, opts...) })
	})
}

// update makes the writes of f to r.Key, together with those of Beside, as one unit.
func (r Request) update(ctx context.Context, a *agent.Agent, f func(tx *agent.Tx)) error {
	return a.Update(ctx, func(tx *agent.Tx) error {
		f(tx)
		if r.Beside != nil {
			r.Beside(tx)
		}
		return nil
	})
}

func patch(ctx context.Context, a *agent.Agent, r Request) (Response, error) {
	res, err := write(ctx, a, r, func(v crdt.Value, opts []agent.WriteOption) error {
		return a.Object(r.Key).Patch(ctx, v, opts...)
	})
	if err != nil {
		return Response{}, err
	}
	return r.outcome(a, res.Created)
}

func write(ctx context.Context, a *agent.Agent, r Request, do func(crdt.Value, []agent.WriteOption) error) (Response, error) {
	var made crdt.Version
	opts, replicas, err := r.options(&made)
	if err != nil {
		return Response{}, err
	}
	v, err := crdt.JSONValue(r.Body)
	if err != nil {
		return Response{}, err
	}
	if opts, err = r.onCondition(a, opts); err != nil {
		return Response{}, err
	}
	before, _ := a.Version(r.Key)
	if err := do(v, opts); err != nil {
		return Response{}, err
	}
	return r.written(made, before == 0), wait(ctx, a, replicas)
}

func wait(ctx context.Context, a *agent.Agent, replicas int) error {
	if replicas == 0 {
		return nil
	}
	return a.WaitReplicated(ctx, replicas)
}

func remove(ctx context.Context, a *agent.Agent, r Request) (Response, error) {
	var made crdt.Version
	opts, replicas, err := r.options(&made)
	if err == nil {
		opts, err = r.onCondition(a, opts)
	}
	if err != nil {
		return Response{}, err
	}
	before, _ := a.Version(r.Key)
	if err := r.update(ctx, a, func(tx *agent.Tx) { tx.Delete(r.Key, opts...) }); err != nil {
		return Response{}, err
	}
	gone := Deleted{Key: r.Key, Deleted: before != 0}
	if made != 0 {
		gone.Version = made.String()
	}
	return Response{Version: made, Body: gone}, wait(ctx, a, replicas)
}

// Key is one entry of a list of keys.
type Key struct {
	Key     string      `json:"key"`
	Type    string      `json:"type"`
	Version string      `json:"version"`
	Writer  string      `json:"writer"`
	Value   *crdt.Value `json:"value,omitempty"`
}

func list(ctx context.Context, a *agent.Agent, r Request) (Response, error) {
	values, err := Flag(r.Query, "values")
	if err != nil {
		return Response{}, err
	}
	pattern, grant := cmp.Or(r.Query.Get("match"), "**"), GrantOf(ctx)
	if err := mayMatch(grant, pattern); err != nil {
		return Response{}, err
	}
	counts, err := Flag(r.Query, "count")
	if err != nil {
		return Response{}, err
	}
	after, total := r.Query.Get("after"), 0
	p, err := newPage[Key](r)
	if err != nil {
		return Response{}, err
	}
	from := after
	if counts {
		from = "" // what stands before the page is counted too
	}
	err = a.Walk(ctx, pattern, from, grant.MayRead, func(key string, e crdt.Entry) bool {
		total++
		if key <= after || p.full() {
			return counts
		}
		k, size := Key{Key: key, Type: e.Kind().String(), Version: e.Version().String(), Writer: a.WriterName(e.Dot().Actor)}, 0
		if v, err := a.Resolve(key, e); values && err == nil {
			k.Value, size = &v, len(v.Raw())
		}
		return p.add(key, k, size) || counts
	})
	if counts {
		p.list.Count = &total
	}
	return Response{Body: p.list}, err
}

// Found is a key and its value.
type Found struct {
	Key   string
	Entry crdt.Entry
	Value crdt.Value // for a custom key, the result of its resolver
	Err   error      // the error of the resolver
}

// find returns the keys that match a glob as a []Found, in the order of the keys, unless they go to
// Request.Visit.
func find(ctx context.Context, a *agent.Agent, r Request) (Response, error) {
	pattern, grant := r.Query.Get("match"), GrantOf(ctx)
	if err := mayMatch(grant, pattern); err != nil {
		return Response{}, err
	}
	limit := math.MaxInt
	if r.Query.Has("limit") {
		var err error
		if limit, err = r.limit(); err != nil {
			return Response{}, err
		}
	}
	list := []Found{}
	err := a.Walk(ctx, pattern, r.Query.Get("after"), grant.MayRead, func(key string, e crdt.Entry) bool {
		v, err := a.Resolve(key, e)
		if r.Visit != nil {
			return r.Visit(Found{key, e, v, err})
		}
		list = append(list, Found{key, e, v, err})
		return len(list) < limit
	})
	return Response{Body: list}, err
}

// mayMatch refuses a malformed glob, and one of whose keys the caller may read none.
func mayMatch(grant *Grant, pattern string) error {
	if err := grant.CheckMatch(pattern); err != nil {
		return err
	}
	if _, err := crdt.CompilePattern(pattern); err != nil {
		return bad("match: %v", err)
	}
	return nil
}

// Flag reads a parameter of the query that is true or false; the default is false.
func Flag(q url.Values, name string) (bool, error) {
	switch s := q.Get(name); s {
	case "true":
		return true, nil
	case "", "false":
		return false, nil
	default:
		return false, bad("%s %q: want true or false", name, s)
	}
}

// decode reads a JSON body into v, and refuses fields that v does not have.
func (r Request) decode(v any) error {
	if string(bytes.TrimSpace(r.Body)) == "null" { // the decoder would take it for an object without fields
		return bad("body: want an object, not null")
	}
	if err := wire.CheckText(r.Body); err != nil {
		return bad("body: %v", err)
	}
	d := json.NewDecoder(bytes.NewReader(r.Body))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
			return bad("body: %s is %s; want %s", cmp.Or(strings.ToLower(wrong.Field), "it"), withArticle(wrong.Value), inJSON(wrong.Type))
		}
		if err == io.EOF {
			return bad("body is empty; want an object with %s", strings.Join(fieldsOf(reflect.TypeOf(v).Elem()), ", "))
		}
		if field, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
			return bad("body: unknown field %s; allowed are %s", field, strings.Join(fieldsOf(reflect.TypeOf(v).Elem()), ", "))
		}
		return bad("body: %v", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return bad("body: want one object and nothing after it")
	}
	return nil
}

// fieldsOf returns the JSON names of the fields of a body, and of the elements of its lists.
func fieldsOf(body reflect.Type) (names []string) {
	for _, f := range reflect.VisibleFields(body) {
		names = append(names, f.Tag.Get("json"))
		if t := f.Type; t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct {
			names = append(names, fieldsOf(t.Elem())...)
		}
	}
	return names
}

// inJSON names the JSON type for a Go type.
func inJSON(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Int64:
		return "an integer within 64 bits"
	case reflect.Int:
		return "an integer"
	case reflect.Bool:
		return "true or false"
	case reflect.Float64:
		return "a number"
	case reflect.String:
		return "a string"
	case reflect.Slice:
		return "an array"
	}
	return "an object"
}

func withArticle(what string) string {
	if strings.HasPrefix(what, "a") || strings.HasPrefix(what, "o") {
		return "an " + what
	}
	return "a " + what
}

func updateSet(ctx context.Context, a *agent.Agent, r Request) (Response, error) {
	var body setBody
	if err := r.decode(&body); err != nil {
		return Response{}, err
	}
	if len(body.Add)+len(body.Remove) == 0 {
		return Response{}, bad(`body: want {"add":[…],"remove":[…]} with at least one element`)
	}
	return r.merge(ctx, a, func(tx *agent.Tx) {
		if len(body.Add) > 0 {
			tx.Add(r.Key, anys(body.Add)...)
		}
		if len(body.Remove) > 0 {
			tx.Remove(r.Key, anys(body.Remove)...)
		}
	})
}

func anys(raw []json.RawMessage) []any {
	list := make([]any, len(raw))
	for i, m := range raw {
		list[i] = m
	}
	return list
}

func count(ctx context.Context, a *agent.Agent, r Request) (Response, error) {
	var body counterBody
	if err := r.decode(&body); err != nil {
		return Response{}, err
	}
	switch {
	case body.Add != nil && body.Max == nil:
		return r.merge(ctx, a, func(tx *agent.Tx) { tx.Increment(r.Key, *body.Add) })
	case body.Max != nil && body.Add == nil:
		return r.merge(ctx, a, func(tx *agent.Tx) { tx.Bump(r.Key, body.Max) })
	}
	return Response{}, bad(`body: want {"add":1} for a counter or {"max":7} for a maximum`)
}

// merge makes the writes of f to r.Key and returns the key's value after them.
func (r Request) merge(ctx context.Context, a *agent.Agent, f func(tx *agent.Tx)) (Response, error) {
	before, _ := a.Version(r.Key)
	if err := r.update(ctx, a, f); err != nil {
		return Response{}, err
	}
	return r.outcome(a, before == 0)
}

func members(_ context.Context, a *agent.Agent, _ Request) (Response, error) {
	return Response{Body: whole(MembersOf(a.Members()))}, nil
}

func stats(ctx context.Context, a *agent.Agent, r Request) (Response, error) {
	s := a.Stats()
	s.Queues = readable(ctx, s.Queues)
	return Response{Body: Stats{s, Transport{s.Transport, Duration(s.Transport.PartitionAge)}, r.Leases.Count()}}, nil
}

// Digest is the checksum of a peer's state.
type Digest struct {
	Hash string `json:"hash"`
	Keys int    `json:"keys"`
}

func digest(_ context.Context, a *agent.Agent, _ Request) (Response, error) {
	hash, keys := a.Digest()
	return Response{Body: Digest{hash, keys}}, nil
}

// Conflict is a concurrent write that lost, and the write that won.
type Conflict struct {
	Key    string `json:"key"`
	Path   string `json:"path,omitempty"`
	Rule   string `json:"rule"`
	Winner Side   `json:"winner"`
	Loser  Side   `json:"loser"`
}

// Side is one of the two writes of a Conflict.
type Side struct {
	Value  crdt.Value `json:"value"`
	Writer string     `json:"writer"`
	Dot    string     `json:"dot"`
	At     time.Time  `json:"at"`
}

func conflicts(ctx context.Context, a *agent.Agent, r Request) (Response, error) {
	limit, err := r.limit()
	if err != nil {
		return Response{}, err
	}
	pattern, grant := cmp.Or(r.Query.Get("match"), "**"), GrantOf(ctx)
	if err := mayMatch(grant, pattern); err != nil {
		return Response{}, err
	}
	found, err := a.Conflicts(pattern, math.MaxInt)
	if err != nil {
		return Response{}, err
	}
	found = slices.DeleteFunc(found, func(c crdt.Conflict) bool { return !grant.MayRead(c.Key) })
	side := func(s crdt.Side) Side {
		return Side{s.Value, a.WriterName(s.Dot.Actor), s.Dot.String(), s.Stamp.Time()}
	}
	out := List[Conflict]{Items: []Conflict{}, Count: new(len(found))}
	for size, i := 0, 0; i < min(len(found), limit) && size < pageBytes; i++ {
		c := found[i]
		size += len(c.Winner.Value.Raw()) + len(c.Loser.Value.Raw())
		out.Items = append(out.Items, Conflict{c.Key, c.Path, c.Rule, side(c.Winner), side(c.Loser)})
	}
	return Response{Body: out}, nil
}

func forget(_ context.Context, a *agent.Agent, r Request) (Response, error) {
	var body forgetBody
	if err := r.decode(&body); err != nil {
		return Response{}, err
	}
	if body.Name == "" {
		return Response{}, bad(`body: want {"name":"n3"}`)
	}
	return Response{Empty: true}, a.Forget(body.Name)
}
