package sim

import "github.com/sentinel-peer/sentinel-peer/crdt"

// memo caches the conversions between values and JSON. A workload has few distinct values,
// and every peer reads them again and again.
type memo struct {
	texts  map[crdt.Value]string
	values map[string]crdt.Value
}

// memoized bounds the entries of each map of a memo. A full map is emptied.
const memoized = 4096

func newMemo() memo {
	return memo{texts: map[crdt.Value]string{}, values: map[string]crdt.Value{}}
}

// text returns v as JSON, or "" if v is absent.
func (m *memo) text(v crdt.Value) string {
	if v.IsZero() {
		return ""
	}
	t, ok := m.texts[v]
	if !ok {
		if len(m.texts) == memoized {
			clear(m.texts)
		}
		t = v.String()
		m.texts[v] = t
	}
	return t
}

// value parses text as JSON. Text that is not JSON becomes a string value.
func (m *memo) value(text string) (crdt.Value, error) {
	v, ok := m.values[text]
	if ok {
		return v, nil
	}
	v, err := crdt.JSONValue([]byte(text))
	if err != nil {
		v, err = crdt.ValueOf(text)
	}
	if err == nil {
		if len(m.values) == memoized {
			clear(m.values)
		}
		m.values[text] = v
	}
	return v, err
}
