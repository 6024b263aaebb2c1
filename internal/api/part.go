package api

import (
	"encoding/base64"
	"errors"
	"net/url"
	"strings"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/crdt"
)

// part answers about a part of a set or an object, at a cost that does not depend on the size of
// the whole.
func part(a *agent.Agent, r Request) (Response, error) {
	q := r.Query
	paged := q.Has("limit") || q.Has("after")
	switch {
	case q.Has("has") && len(q) > 1, q.Has("len") && len(q) > 1:
		return Response{}, bad("want only one of ?path=, ?has= and ?len=true; ?limit= and ?after= go with ?path= or alone")
	case paged:
		return entries(a, r)
	case q.Has("path"):
		return field(a, r.Key, q.Get("path"))
	}
	answer, err := aboutSet(a.Set(r.Key), q)
	if err != nil {
		return Response{}, err
	}
	v, err := crdt.ValueOf(answer)
	return Response{Body: v}, err
}

// field reads the field of an object at a JSON pointer.
func field(a *agent.Agent, key, pointer string) (Response, error) {
	path, err := names(pointer)
	if err != nil {
		return Response{}, err
	}
	v, err := a.Object(key).Field(path...)
	if err == nil && v.IsZero() {
		err = agent.ErrNotFound
	}
	return Response{Body: v}, err
}

// names returns the names of the fields on a JSON pointer.
func names(pointer string) ([]string, error) {
	path, ok := strings.CutPrefix(pointer, "/")
	if !ok {
		return nil, bad("path %q: want a JSON pointer such as /a/b", pointer)
	}
	list := strings.Split(path, "/")
	for i, name := range list {
		list[i] = strings.NewReplacer("~1", "/", "~0", "~").Replace(name)
	}
	return list, nil
}

// Field is a field of an object, as an entry of a page.
type Field struct {
	Name  string     `json:"name"`
	Value crdt.Value `json:"value"`
}

// entries returns a page of the elements of a set, or of the fields of an object.
func entries(a *agent.Agent, r Request) (Response, error) {
	limit, err := r.limit()
	if err != nil {
		return Response{}, err
	}
	var path []string
	if r.Query.Has("path") {
		if path, err = names(r.Query.Get("path")); err != nil {
			return Response{}, err
		}
	}
	var after crdt.Value
	if cursor := r.Query.Get("after"); cursor != "" {
		raw, err := base64.RawURLEncoding.DecodeString(cursor)
		if err == nil {
			after, err = crdt.RawValue(raw)
		}
		if err != nil {
			return Response{}, bad("after: want the next of a page")
		}
	}
	var count *int
	page, err := a.Object(r.Key).Page(after, limit, path...)
	if wrong, ok := errors.AsType[*crdt.TypeError](err); ok && wrong.Have == crdt.Set && path == nil {
		set := a.Set(r.Key)
		if page, err = set.Page(after, limit); err == nil {
			n := 0
			n, err = set.Len()
			count = &n
		}
	}
	if err == nil && page.Kind == 0 {
		err = agent.ErrNotFound
	}
	if err != nil {
		return Response{}, err
	}
	next := base64.RawURLEncoding.EncodeToString([]byte(page.Next.Raw()))
	if page.Kind == crdt.Set {
		return Response{Body: List[crdt.Value]{append([]crdt.Value{}, page.Values...), count, next}}, nil
	}
	fields := make([]Field, len(page.Values))
	for i, v := range page.Values {
		fields[i] = Field{page.Names[i], v}
	}
	return Response{Body: List[Field]{fields, nil, next}}, nil
}

// aboutSet returns whether the set has the element of ?has=, or the number of its elements.
func aboutSet(s agent.Set, q url.Values) (any, error) {
	if q.Has("has") {
		v, err := crdt.JSONValue([]byte(q.Get("has")))
		if err != nil {
			return nil, err
		}
		return s.Has(v)
	}
	counts, err := Flag(q, "len")
	if err == nil && !counts {
		err = bad("len: want true")
	}
	if err != nil {
		return nil, err
	}
	return s.Len()
}
