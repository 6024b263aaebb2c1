package api

import (
	"net/url"
	"strings"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/crdt"
)

// part answers about a part of a set or an object, at a cost that does not depend on the size of
// the whole.
func part(a *agent.Agent, r Request) (Response, error) {
	q := r.Query
	switch {
	case len(q) != 1:
		return Response{}, bad("want only one of ?path=, ?has= and ?len=true")
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
	path, ok := strings.CutPrefix(pointer, "/")
	if !ok {
		return Response{}, bad("path %q: want a JSON pointer such as /a/b", pointer)
	}
	names := strings.Split(path, "/")
	for i, name := range names {
		names[i] = strings.NewReplacer("~1", "/", "~0", "~").Replace(name)
	}
	v, err := a.Object(key).Field(names...)
	if err == nil && v.IsZero() {
		err = agent.ErrNotFound
	}
	return Response{Body: v}, err
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
