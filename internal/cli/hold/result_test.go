package hold

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/crdt"
)

// Any output of a command that exits with 0 becomes a result that the queue accepts: JSON if the
// store can keep it, else text, cut where it is too long.
func TestEveryOutputIsAResult(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	a, err := agent.Open(ctx, agent.Config{Name: "n1", Cluster: "test", Locks: agent.LockConfig{FirstBoot: true}})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close(ctx)
	nested := func(depth int) string { return strings.Repeat("[", depth) + strings.Repeat("]", depth) }
	for name, c := range map[string]struct {
		output string
		want   string // the result as JSON
		cut    bool
	}{
		"nothing":             {" \n", "null", false},
		"JSON":                {"{\"a\": [1, 2.5]}\n", `{"a":[1,2.5]}`, false},
		"text":                {"some text\n", `"some text"`, false},
		"two values":          {"1\n2\n", `"1\n2"`, false},
		"beyond 64 bits":      {"18446744073709551616", `"18446744073709551616"`, false},
		"deep beyond 64 bits": {`{"a":[{"b":-9223372036854775809}]}`, `"{\"a\":[{\"b\":-9223372036854775809}]}"`, false},
		"beyond floats":       {"[1e400]", `"[1e400]"`, false},
		"key twice":           {`{"a":1,"a":2}`, `"{\"a\":1,\"a\":2}"`, false},
		"depth 31":            {nested(31), nested(31), false},
		"depth 32":            {nested(32), `"` + nested(32) + `"`, false},
		"depth 33":            {nested(33), `"` + nested(33) + `"`, false},
		"NUL":                 {"a\x00b", `"a\u0000b"`, false},
		"no UTF-8":            {"a\xffb", `"a` + "\uFFFD" + `b"`, false},
		"longest text":        {strings.Repeat("x", maxText), `"` + strings.Repeat("x", maxText) + `"`, false},
		"one more":            {strings.Repeat("x", maxText+1), "", true},
		"a value's length":    {strings.Repeat("x", 1<<20), "", true},
		"binary that grows":   {strings.Repeat("a\xff", 400_000), "", true},
		"all two bytes":       {strings.Repeat("ä", 600_000), "", true},
		"over all":            {strings.Repeat("x", 10<<20), "", true},
		"long JSON":           {`"` + strings.Repeat("x", 1<<20) + `"`, "", true},
		"wide JSON":           {"[" + strings.Repeat(" ", 2<<20) + "1]", "[1]", false},
		"escaped JSON":        {`"` + strings.Repeat(`\u0001`, 900_000) + `"`, `"` + strings.Repeat(`\u0001`, 900_000) + `"`, false},
	} {
		t.Run(name, func(t *testing.T) { checkResult(t, ctx, a, c.output, c.want, c.cut) })
	}
	// Half a surrogate pair is no character: the store decides what it keeps instead.
	checkTaken(t, ctx, a, &head{kept: []byte(`"\ud800"`), size: 8})
}

func checkResult(t *testing.T, ctx context.Context, a *agent.Agent, output, want string, cut bool) {
	var h head
	if _, err := io.Copy(&h, strings.NewReader(output)); err != nil {
		t.Fatal(err)
	}
	kept := checkTaken(t, ctx, a, &h)
	note := fmt.Sprintf("(cut: the output has %d bytes)", len(output))
	if text, _ := kept.Any().(string); cut && (!strings.HasSuffix(text, note) || len(text) < maxText-4) {
		t.Errorf("%d bytes that end in %q", len(text), text[max(len(text)-60, 0):])
	}
	if got := []byte(kept.String()); !cut && !bytes.Equal(got, []byte(want)) {
		t.Errorf("it is kept as %.80s, want %.80s", got, want)
	}
}

// checkTaken completes an item with a result, and returns the result as the queue keeps it.
func checkTaken(t *testing.T, ctx context.Context, a *agent.Agent, h *head) crdt.Value {
	t.Helper()
	raw, err := json.Marshal(h.result())
	if err != nil {
		t.Fatal(err)
	}
	result, err := crdt.JSONValue(raw)
	if err != nil {
		t.Fatal(err)
	}
	q := a.WorkQueue("q")
	id, err := q.Enqueue(ctx, 1)
	if err != nil {
		t.Fatal(err)
	}
	claim, err := q.Claim(ctx)
	if err == nil {
		err = claim.Complete(ctx, result)
	}
	if err != nil {
		t.Fatal(err)
	}
	item, err := q.Get(id)
	if err != nil {
		t.Fatal(err)
	}
	return item.Result
}
