package mcpserver

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/crdt"
)

func TestMemoryUsage(t *testing.T) {
	each(t, nil, func(t *testing.T, x *fixture, s *mcp.ClientSession) {
		if got := s.InitializeResult().ProtocolVersion; !strings.HasSuffix(t.Name(), got) {
			t.Fatalf("speaks %s", got)
		}
		stored := x.good(s, "memory_usage", `{"action":"store","key":"plan/1","value":"{\"a\":1}"}`)
		x.shows(stored, `{"action":"store","namespace":"default","storage_type":"crdt-gossip","key":"plan/1","stored":true,"size":7,"id":"default:plan/1"}`)
		read := x.good(s, "memory_usage", `{"action":"read","key":"plan/1"}`)
		x.shows(read, `{"action":"retrieve","key":"plan/1","value":{"a":1},"found":true}`)
		if read["version"] != stored["version"] || stored["version"] == nil {
			t.Errorf("versions %v and %v", stored["version"], read["version"])
		}
		if v, _ := x.agent.Get("memory/default/plan/1"); v.String() != `"{\"a\":1}"` {
			t.Errorf("the peer holds %s", v)
		}
		x.shows(x.good(s, "memory_usage", `{"action":"retrieve","key":"plan/1","namespace":"other"}`),
			`{"value":null,"found":false,"other_namespaces":["default"]}`)

		x.good(s, "memory_usage", `{"action":"write","key":"null","value":null,"namespace":"w"}`)
		x.shows(x.good(s, "memory_usage", `{"action":"get","key":"null","namespace":"w"}`), `{"value":null,"found":true}`)
		x.good(s, "memory_usage", `{"action":"store","key":"object","value":{"deep":[1,"two"]},"namespace":"w","ttl":"3600"}`)
		x.shows(x.good(s, "memory_usage", `{"action":"retrieve","key":"object","namespace":"w"}`), `{"value":{"deep":[1,"two"]}}`)
		e, _ := x.agent.Entry("memory/w/object")
		if e.Expiry() == 0 {
			t.Error("a TTL given as text was lost")
		}
		stays := x.good(s, "memory_usage", `{"action":"expire","key":"object","namespace":"w","ttl":0}`)
		x.shows(stays, `{"action":"expire","key":"object","expires":null}`)
		for _, key := range []string{"memory/w/object", authors + "memory/w/object"} {
			if e, ok := x.agent.Entry(key); !ok || e.Expiry() != 0 {
				t.Errorf("%s ends at %d", key, e.Expiry())
			}
		}
		if ends := x.good(s, "memory_usage", `{"action":"expire","key":"object","namespace":"w","ttl":60}`); ends["expires"] == nil {
			t.Errorf("expire answers %v", ends)
		}
		for _, key := range []string{"memory/w/object", authors + "memory/w/object"} {
			if e, ok := x.agent.Entry(key); !ok || e.Expiry() == 0 {
				t.Errorf("%s does not end", key)
			}
		}
		x.bad("not-found", s, "memory_usage", `{"action":"expire","key":"absent","ttl":60}`)
		x.bad("bad-request", s, "memory_usage", `{"action":"expire","key":"object","namespace":"w"}`)

		list := x.good(s, "memory_usage", `{"action":"list","namespace":"w"}`)
		x.shows(list, `{"count":2,"total":2}`)
		first := list["entries"].([]any)[0].(map[string]any)
		x.shows(first, `{"key":"object","namespace":"w","value":{"deep":[1,"two"]},"accessCount":1}`)
		by := first["metadata"].(map[string]any)
		if by["claimed_client"] != "tester 1" || first["createdAt"] == nil || first["updatedAt"] == nil {
			t.Errorf("entry %v", first)
		}
		x.shows(x.good(s, "memory_usage", `{"action":"search","value":"TWO","namespace":"w"}`), `{"pattern":"TWO","count":1}`)
		x.shows(x.good(s, "memory_usage", `{"action":"delete","key":"object","namespace":"w"}`), `{"key":"object","deleted":true}`)
		x.shows(x.good(s, "memory_usage", `{"action":"del","key":"object","namespace":"w"}`), `{"action":"delete","deleted":false}`)
		if keys, _ := x.agent.Keys("**/w/object"); len(keys) > 0 {
			t.Errorf("deleting leaves %v", keys)
		}

		warned := x.good(s, "memory_usage", `{"action":"list","namespace":"w","colour":"red","limit":"5"}`)
		if w := warned["warnings"]; w == nil || !strings.Contains(w.([]any)[0].(string), "colour") {
			t.Errorf("an unknown argument gives %v", warned)
		}
		x.bad("bad-request", s, "memory_usage", `{"action":"fly"}`)
		x.bad("bad-request", s, "memory_usage", `{}`)
		x.bad("bad-request", s, "memory_usage", `{"action":"store","key":"x"}`)
		x.bad("bad-request", s, "memory_usage", `{"action":"store","value":"x"}`)
		x.bad("bad-request", s, "memory_usage", `{"action":"store","key":"x","value":1,"ttl":"soon"}`)
		x.bad("bad-request", s, "memory_usage", `{"action":"store","key":"x","value":1,"ttl":-1}`)
		x.bad("bad-request", s, "memory_usage", `{"action":"store","key":"x\ud800","value":1}`) // no character
	})
}

func TestAnEventOfALargeObjectHasItsParts(t *testing.T) {
	each(t, nil, func(t *testing.T, x *fixture, s *mcp.ClientSession) {
		object := x.agent.Object("memory/default/large")
		patch := func(fields map[string]any) {
			t.Helper()
			if err := object.Patch(t.Context(), fields); err != nil {
				t.Fatal(err)
			}
		}
		patch(map[string]any{"text": strings.Repeat("x", crdt.WholeBytes)})
		if err := x.agent.ForceSync(t.Context()); err != nil {
			t.Fatal(err)
		}
		start := x.good(s, "memory_watch", `{"timeout_s":0}`)
		patch(map[string]any{"a": map[string]any{"b": 1}})
		heard := x.good(s, "memory_watch", `{"since":"`+start["next"].(string)+`"}`)
		x.shows(heard["events"].([]any)[0].(map[string]any), `{"key":"large","partial":true,"parts":[{"op":"put","path":["a","b"],"value":1}]}`)
	})
}

func TestAPartOfASetOrAnObjectIsRetrieved(t *testing.T) {
	each(t, nil, func(t *testing.T, x *fixture, s *mcp.ClientSession) {
		x.good(s, "memory_usage", `{"action":"store","key":"set","value":["a",2],"type":"set"}`)
		x.good(s, "memory_usage", `{"action":"store","key":"object","value":{"a":{"b":1}},"type":"object"}`)
		for args, want := range map[string]string{
			`"key":"set","has":"a"`:                  `{"key":"set","value":true,"found":true}`,
			`"key":"set","has":3`:                    `{"value":false,"found":true}`,
			`"key":"set","len":true`:                 `{"value":2,"found":true}`,
			`"key":"object","path":"/a/b"`:           `{"value":1,"found":true}`,
			`"key":"object","path":"/a"`:             `{"value":{"b":1},"found":true}`,
			`"key":"object","path":"/a/c"`:           `{"value":null,"found":false}`,
			`"key":"set","limit":1`:                  `{"key":"set","entries":[2],"count":1,"found":true,"truncated":true,"next_cursor":"Ag"}`,
			`"key":"set","limit":1,"cursor":"Ag"`:    `{"entries":["a"],"count":1,"next_cursor":null}`,
			`"key":"object","limit":9`:               `{"entries":[{"name":"a","value":{"b":1}}],"count":1,"next_cursor":null}`,
			`"key":"object","limit":9,"path":"/a"`:   `{"entries":[{"name":"b","value":1}],"count":1}`,
			`"key":"object","limit":9,"path":"/a/b"`: `{"value":1,"found":true}`,
			`"key":"absent","limit":9`:               `{"value":null,"found":false}`,
			`"key":"object","len":false`:             `{"value":{"a":{"b":1}},"found":true}`,
			`"key":"absent","path":"/a/b/c"`:         `{"value":null,"found":false}`,
		} {
			x.shows(x.good(s, "memory_usage", `{"action":"retrieve",`+args+`}`), want)
		}
		x.bad("bad-request", s, "memory_usage", `{"action":"retrieve","key":"set","has":1,"len":true}`)
		x.bad("bad-request", s, "memory_usage", `{"action":"retrieve","key":"set","has":1,"limit":1}`)
		x.bad("bad-request", s, "memory_usage", `{"action":"retrieve","key":"set","limit":1,"cursor":"?"}`)
		x.bad("bad-request", s, "memory_usage", `{"action":"retrieve","key":"object","path":"a"}`)
		x.bad("wrong-type", s, "memory_usage", `{"action":"retrieve","key":"object","len":true}`)
	})
}

// The pages of a large set are within the budget of an answer, and together they are the set.
func TestALargeSetIsRetrievedInPages(t *testing.T) {
	each(t, nil, func(t *testing.T, x *fixture, s *mcp.ClientSession) {
		var elements []any
		for i := range 2000 {
			elements = append(elements, fmt.Sprintf("%04d %s", i, strings.Repeat("x", 200)))
		}
		if err := x.agent.Set("memory/default/set").Add(t.Context(), elements...); err != nil {
			t.Fatal(err)
		}
		got, cursor := []any{}, ""
		for {
			out := x.good(s, "memory_usage", `{"action":"retrieve","key":"set","limit":1000,"cursor":"`+cursor+`"}`)
			got = append(got, out["entries"].([]any)...)
			next, more := out["next_cursor"].(string)
			if !more {
				break
			}
			cursor = next
		}
		if !slices.Equal(got, elements) {
			t.Errorf("%d elements, want %d", len(got), len(elements))
		}
	})
}

// The pages of a list are the newest keys first, each once, however short the pages are.
func TestShortPagesAreTheWholeList(t *testing.T) {
	each(t, nil, func(t *testing.T, x *fixture, s *mcp.ClientSession) {
		var want []any
		for i := range 40 {
			key := fmt.Sprintf("%02d", i*7%40)
			if err := x.agent.Put(t.Context(), "memory/default/"+key, i); err != nil {
				t.Fatal(err)
			}
			want = append([]any{key}, want...)
		}
		for _, limit := range []int{1, 3, 40} {
			got, cursor := []any{}, ""
			for more := true; more; {
				out := x.good(s, "memory_usage", fmt.Sprintf(`{"action":"list","values":false,"limit":%d,"cursor":"%s"}`, limit, cursor))
				x.shows(out, `{"total":40}`)
				got = append(got, out["keys"].([]any)...)
				cursor, more = out["next_cursor"].(string)
			}
			if !slices.Equal(got, want) {
				t.Errorf("in pages of %d: %v, want %v", limit, got, want)
			}
		}
	})
}

func TestWhatOneWroteAnotherHears(t *testing.T) {
	each(t, nil, func(t *testing.T, x *fixture, s *mcp.ClientSession) {
		start := x.good(s, "memory_watch", `{"timeout_s":0}`)
		x.shows(start, `{"events":[],"count":0}`)
		x.good(s, "memory_usage", `{"action":"store","key":"a/1","value":"{\"n\":1}"}`)
		x.good(s, "memory_usage", `{"action":"store","key":"b/1","value":"not wanted"}`)
		x.good(s, "memory_usage", `{"action":"store","key":"a/1","value":2,"namespace":"elsewhere"}`)
		heard := x.good(s, "memory_watch", `{"prefix":"a/","since":"`+start["next"].(string)+`"}`)
		x.shows(heard, `{"count":1}`)
		e := heard["events"].([]any)[0].(map[string]any)
		x.shows(e, `{"key":"a/1","namespace":"default","cause":"put","value":{"n":1},"claimed_client":"tester 1"}`)
		if by, _ := e["writer"].(string); !strings.HasPrefix(by, "n1") {
			t.Errorf("the writer is %v", by)
		}
		after := x.good(s, "memory_watch", `{"timeout_s":"0","since":"`+heard["next"].(string)+`"}`)
		x.shows(after, `{"count":0}`) // b/1 was passed over
		again := x.good(s, "memory_watch", `{"timeout_s":0,"since":"`+start["next"].(string)+`"}`)
		x.shows(again, `{"count":2}`)

		// A call that waits is woken by a write.
		events := x.agent.Events(t.Context())
		done := make(chan answered)
		go func() {
			out, _ := x.call(s, "memory_watch", `{"prefix":"late","timeout_s":25}`)
			done <- out
		}()
		for e := range events.C {
			if e.Type == agent.Subscribed {
				break
			}
		}
		if err := x.agent.Put(t.Context(), "memory/default/late", 1); err != nil {
			t.Fatal(err)
		}
		x.shows(<-done, `{"success":true,"count":1}`)
		lagged := x.good(s, "memory_watch", `{"since":"`+start["next"].(string)+`99999"}`)
		x.shows(lagged, `{"lagged":true,"count":0}`)
		x.bad("bad-request", s, "memory_watch", `{"since":"yesterday"}`)

		// What changes elsewhere does not age the place of one who waits.
		x.good(s, "memory_usage", `{"action":"store","key":"a/1","value":3,"namespace":"elsewhere"}`)
		at := start["next"].(string)
		x.soon("the place does not move", func() bool {
			out := x.good(s, "memory_watch", `{"timeout_s":0,"prefix":"nothing","since":"`+at+`"}`)
			x.shows(out, `{"count":0}`)
			at = out["next"].(string)
			return at == x.agent.Cursor().String()
		})
	})
}

func TestOptimisticWritesAndTypes(t *testing.T) {
	each(t, nil, func(t *testing.T, x *fixture, s *mcp.ClientSession) {
		first := x.good(s, "memory_usage", `{"action":"store","key":"k","value":"one","if_version":"0"}`)
		x.bad("version-conflict", s, "memory_usage", `{"action":"store","key":"k","value":"two","if_version":0}`)
		v := first["version"].(string)
		second := x.good(s, "memory_usage", `{"action":"store","key":"k","value":"two","if_version":"`+v+`"}`)
		lost := x.bad("version-conflict", s, "memory_usage", `{"action":"store","key":"k","value":"three","if_version":"`+v+`"}`)
		if lost["current_version"] != second["version"] {
			t.Errorf("a conflict names %v, not %v", lost["current_version"], second["version"])
		}
		x.bad("version-conflict", s, "memory_usage", `{"action":"delete","key":"k","if_version":"`+v+`"}`)
		x.bad("bad-request", s, "memory_usage", `{"action":"store","key":"k","value":"three","if_version":"latest"}`)
		x.shows(x.good(s, "memory_usage", `{"action":"retrieve","key":"k"}`), `{"value":"two"}`)

		x.good(s, "memory_usage", `{"action":"store","key":"n","value":2,"type":"counter"}`)
		x.good(s, "memory_usage", `{"action":"store","key":"n","value":"3"}`) // it stays one
		x.shows(x.good(s, "memory_usage", `{"action":"retrieve","key":"n"}`), `{"value":5}`)
		x.bad("bad-value", s, "memory_usage", `{"action":"store","key":"n","value":"many"}`)
		x.good(s, "memory_usage", `{"action":"store","key":"s","value":"[\"b\",\"a\",\"b\"]","type":"set"}`)
		x.shows(x.good(s, "memory_usage", `{"action":"retrieve","key":"s"}`), `{"value":["a","b"]}`)
		x.bad("bad-request", s, "memory_usage", `{"action":"store","key":"s","value":1,"type":"list"}`)
		x.bad("bad-value", s, "memory_usage", `{"action":"store","key":"s","value":1}`)

		// What the fleet's own keys hold is an object; its text becomes one.
		x.good(s, "memory_usage", `{"action":"store","key":"task-sentinel/tasks/7/state","value":"{\"status\":\"running\"}"}`)
		if state, err := x.agent.Tasks().State("7"); err != nil || state.Status != "running" {
			t.Errorf("state %v, %v", state, err)
		}
		x.shows(x.good(s, "memory_usage", `{"action":"list","namespace":"task-sentinel"}`), `{"count":1}`)
		x.shows(x.good(s, "memory_usage", `{"action":"retrieve","namespace":"task-sentinel","key":"tasks/7/state"}`), `{"found":true}`)
	})
}

func TestAuthorsAreKept(t *testing.T) {
	x := serve(t, nil)
	s := x.connect("2025-06-18", nil)
	entry := func() map[string]any {
		t.Helper()
		return x.good(s, "memory_usage", `{"action":"list"}`)["entries"].([]any)[0].(map[string]any)
	}
	x.good(s, "memory_usage", `{"action":"store","key":"k","value":1}`)
	first := entry()
	by := first["metadata"].(map[string]any)
	if by["claimed_client"] != "tester 1" || by["storedBy"] != "n1 session "+by["sessionId"].(string) || len(by["sessionId"].(string)) != 8 || strings.Contains(s.ID(), by["sessionId"].(string)) {
		t.Errorf("author %v", by)
	}
	if err := x.agent.Put(t.Context(), "memory/default/k", 2); err != nil { // past the tools
		t.Fatal(err)
	}
	if by := entry()["metadata"].(map[string]any); by["storedBy"] != "n1" {
		t.Errorf("a write past the tools is taken for one of %v", by)
	}
	x.good(s, "memory_usage", `{"action":"store","key":"k","value":3}`)
	if again := entry(); again["createdAt"] != first["createdAt"] || again["updatedAt"] == first["updatedAt"] {
		t.Errorf("first %v, then %v", first, again)
	}
}

func TestNothingFloods(t *testing.T) {
	x := serve(t, nil)
	s := x.connect("", nil)
	for i := range 300 {
		v := strings.Repeat("v", 100)
		if i%10 == 0 {
			v = strings.Repeat("long ", 2000)
		}
		if err := x.agent.Put(t.Context(), fmt.Sprintf("memory/many/key-%03d", i), v); err != nil {
			t.Fatal(err)
		}
	}
	for _, arguments := range []string{`"action":"list","limit":1000`, `"action":"list","values":false,"limit":120`, `"action":"search","value":"KEY-","limit":70`} {
		seen, pages, cursor := map[string]bool{}, 0, ""
		for {
			out := x.good(s, "memory_usage", `{`+arguments+`,"namespace":"many","cursor":"`+cursor+`"}`)
			list, _ := out["entries"].([]any)
			for _, name := range []string{"results", "keys"} {
				if list == nil {
					list, _ = out[name].([]any)
				}
			}
			for _, e := range list {
				entry, ok := e.(map[string]any)
				if !ok {
					entry = map[string]any{"key": e}
				}
				if v, ok := entry["value"].(string); ok && len(v) > maxShown+10 {
					t.Errorf("a value of %d bytes in a list", len(v))
				}
				if seen[entry["key"].(string)] {
					t.Errorf("%v is shown twice", entry["key"])
				}
				seen[entry["key"].(string)] = true
			}
			pages++
			if out["next_cursor"] == nil {
				break
			}
			cursor = out["next_cursor"].(string)
		}
		if len(seen) != 300 || pages < 3 {
			t.Errorf("%s: %d keys on %d pages", arguments, len(seen), pages)
		}
	}
	x.bad("bad-request", s, "memory_usage", `{"action":"list","cursor":"%%"}`)
	x.bad("bad-request", s, "memory_usage", `{"action":"list","cursor":"AAAA"}`)

	// A long value comes in parts.
	for _, v := range []string{strings.Repeat("é\"\n\x01", 30_000), strings.Repeat("x", 40_000) + "…", strings.Repeat("…", 20_000), strings.Repeat("a", budget), `{"deep":` + strings.Repeat("[", 25) + strings.Repeat(`"x",`, 15_000) + `1` + strings.Repeat("]", 25) + `}`} {
		if err := x.agent.Put(t.Context(), "memory/default/long", v); err != nil {
			t.Fatal(err)
		}
		var whole strings.Builder
		for cursor := ""; ; {
			out := x.good(s, "memory_usage", `{"action":"retrieve","key":"long","cursor":"`+cursor+`"}`)
			whole.WriteString(out["value"].(string))
			next, more := out["next_cursor"].(string)
			if !more {
				break
			}
			if next == cursor {
				t.Fatalf("%.20q: there is no end from %s on", v, cursor)
			}
			cursor = next
		}
		if whole.String() != v {
			t.Errorf("%.20q: %d bytes came of %d", v, whole.Len(), len(v))
		}
	}
	out := x.good(s, "memory_usage", `{"action":"retrieve","key":"long"}`)
	if err := x.agent.Put(t.Context(), "memory/default/long", "changed"); err != nil {
		t.Fatal(err)
	}
	x.bad("version-conflict", s, "memory_usage", `{"action":"retrieve","key":"long","cursor":"`+out["next_cursor"].(string)+`"}`)
}
