package sim

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sentinel-peer/sentinel-peer/crdt"
)

// split divides words at each word that equals at.
func split(words []string, at string) [][]string {
	var parts [][]string
	for len(words) > 0 {
		i := slices.Index(words, at)
		if i < 0 {
			i = len(words)
		}
		parts = append(parts, words[:i])
		words = words[min(i+1, len(words)):]
	}
	return parts
}

// parseOp parses one operation, such as "put KEY VALUE ttl=3s". A ttl of 0 means that the
// entry does not expire.
func (m *memo) parseOp(words []string) (op crdt.Op, ttl time.Duration, err error) {
	if len(words) < 2 {
		return op, 0, fmt.Errorf("a verb and a key are wanted")
	}
	verb, args := words[0], words[2:]
	op.Key = words[1]
	if n := len(args); n > 0 && strings.HasPrefix(args[n-1], "ttl=") {
		if ttl, err = duration([]string{args[n-1][4:]}, 0); err != nil {
			return op, 0, err
		}
		args = args[:n-1]
	}
	values, err := m.parse(args)
	if err != nil {
		return op, 0, err
	}
	want := 1
	switch verb {
	case "put", "putif":
		op.Verb = crdt.Put
	case "sibling":
		op.Verb, op.Kind = crdt.Put, crdt.Custom
	case "replace":
		op.Verb, op.Kind = crdt.Put, crdt.Object
	case "patch":
		op.Verb = crdt.Patch
	case "max":
		op.Verb = crdt.Bump
	case "delete":
		op.Verb, want = crdt.Delete, 0
	case "expire":
		if op.Verb, want = crdt.Expire, 0; ttl <= 0 {
			return op, 0, errors.New("expire takes a ttl")
		}
	case "persist":
		op.Verb, want = crdt.Expire, 0
	case "add":
		op.Verb, op.Values, want = crdt.Add, values, max(len(values), 1)
	case "remove":
		op.Verb, op.Values, want = crdt.Remove, values, max(len(values), 1)
	case "incr":
		op.Verb = crdt.Increment
		if op.Delta, err = strconv.ParseInt(arg(args, 0), 10, 64); err != nil {
			return op, 0, fmt.Errorf("a whole number is wanted, not %q", arg(args, 0))
		}
	default:
		return op, 0, fmt.Errorf("no verb %q", verb)
	}
	if len(values) != want {
		return op, 0, fmt.Errorf("%s takes %d values, not %d", verb, want, len(values))
	}
	if op.Values == nil && want == 1 && op.Verb != crdt.Increment {
		op.Value = values[0]
	}
	return op, ttl, nil
}

// parse parses each argument as a value.
func (m *memo) parse(args []string) (list []crdt.Value, err error) {
	for _, a := range args {
		v, err := m.value(a)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, nil
}

// opsText returns operations in the form of a script.
func opsText(ops []crdt.Op) string {
	var parts []string
	for _, op := range ops {
		words := []string{op.Verb.String()}
		switch {
		case op.Verb == crdt.Put && op.Kind == crdt.Custom:
			words[0] = "sibling"
		case op.Verb == crdt.Put && op.Kind == crdt.Object:
			words[0] = "replace"
		case op.Verb == crdt.Expire && op.Expiry == 0:
			words[0] = "persist"
		case op.Verb == crdt.Bump:
			words[0] = "max"
		case op.Verb == crdt.Increment:
			words = []string{"incr"}
		}
		words = append(words, op.Key)
		if op.Verb == crdt.Increment {
			words = append(words, strconv.FormatInt(op.Delta, 10))
		}
		if !op.Value.IsZero() {
			words = append(words, op.Value.String())
		}
		for _, v := range op.Values {
			words = append(words, v.String())
		}
		parts = append(parts, strings.Join(words, " "))
	}
	return strings.Join(parts, " ; ")
}

// quote returns a value in the form of a script: JSON without spaces.
func quote(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // the drawn values have types that JSON knows
	}
	return string(b)
}
