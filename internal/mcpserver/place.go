package mcpserver

import (
	"strings"

	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/internal/keyspace"
)

const (
	memory    = "memory"      // the tree of namespaces
	authors   = "mcp/"        // before a key: where its author stands
	shared    = keyspace.Root // the tree of tasks, workers and agents, and a namespace
	defaultNS = "default"
)

// keyOf returns the key of the peer where key k of namespace n is stored.
func keyOf(n, k string) (string, error) {
	key := memory + "/" + segment(n) + "/" + k
	switch {
	case k == shared || strings.HasPrefix(k, shared+"/"):
		key = k
	case n == shared:
		key = shared + "/" + k
	}
	if err := crdt.ValidateKey(key); err != nil {
		return key, err
	}
	return key, crdt.ValidateKey(authors + key)
}

// nameOf is the inverse of keyOf: it returns the namespace and the key within it.
func nameOf(key string) (n, k string) {
	if rest, ok := strings.CutPrefix(key, memory+"/"); ok {
		if n, k, ok = strings.Cut(rest, "/"); ok {
			return unsegment.Replace(n), k
		}
	}
	n, _, _ = strings.Cut(key, "/")
	return n, key
}

// under returns a glob for all keys of namespace n, or of all namespaces if n is empty.
func under(n string) string {
	switch n {
	case "":
		return "{" + memory + "," + shared + "}/**"
	case shared:
		return shared + "/**"
	}
	return memory + "/" + crdt.Literal(segment(n)) + "/**"
}

// segment escapes a namespace so that it is one segment of a key.
func segment(n string) string {
	switch n {
	case ".":
		return "%2E"
	case "..":
		return "%2E%2E"
	}
	return strings.NewReplacer("%", "%25", "/", "%2F").Replace(n)
}

var unsegment = strings.NewReplacer("%2E", ".", "%2F", "/", "%25", "%")
