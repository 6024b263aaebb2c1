package httpapi

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/sentinel-peer/sentinel-peer/crdt"
)

// events reads a stream one event at a time.
type events struct {
	t    *testing.T
	body io.ReadCloser
	in   *bufio.Reader
}

type event struct{ id, name, data string }

func (x *fixture) watch(query string, header ...string) *events {
	x.t.Helper()
	req, err := http.NewRequest("GET", base+"/v1/watch?"+query, nil)
	if err != nil {
		x.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := x.client.Do(req)
	if err != nil || res.StatusCode != 200 || res.Header.Get("Content-Type") != "text/event-stream" {
		x.t.Fatalf("watch: %v, %v", res, err)
	}
	return &events{x.t, res.Body, bufio.NewReader(res.Body)}
}

// next returns the next event. A comment is an event with the id ":" and its text.
func (e *events) next() (out event) {
	e.t.Helper()
	for {
		line, err := e.in.ReadString('\n')
		if err != nil {
			return event{name: err.Error()}
		}
		line = strings.TrimSuffix(line, "\n")
		switch name, rest, _ := strings.Cut(line, ": "); {
		case line == "":
			return out
		case name == "":
			out.name = line
		case name == "id":
			out.id = rest
		case name == "event":
			out.name = rest
		case name == "data":
			out.data = rest
			fitsStream(e.t, rest)
		default:
			e.t.Errorf("line %q", line)
		}
	}
}

func (e *events) expect(name string, parts ...string) event {
	e.t.Helper()
	got := e.next()
	for _, part := range parts {
		if !strings.Contains(got.data, part) {
			e.t.Errorf("%+v does not hold %q", got, part)
		}
	}
	if got.name != name {
		e.t.Errorf("%+v, want %s", got, name)
	}
	return got
}

func TestAnEventOfALargeSetOrObjectHasItsParts(t *testing.T) {
	serving(t, nil, func(x *fixture) {
		large := `"` + strings.Repeat("x", crdt.WholeBytes) + `"`
		x.must(201, "PUT", "/v1/keys/set?type=set", "["+large+"]")
		x.must(201, "PUT", "/v1/keys/object?type=object", `{"text":`+large+`}`)
		e := x.watch("")
		e.expect(": watching")
		x.must(200, "POST", "/v1/sets/set", `{"add":["one"]}`)
		e.expect("put", `"key":"set"`, `"value":null,"old":null,"partial":true,"parts":[{"op":"add","path":[],"value":"one"}]`)
		x.must(200, "PATCH", "/v1/keys/object", `{"a":{"b":1}}`)
		e.expect("put", `"key":"object"`, `"partial":true,"parts":[{"op":"put","path":["a","b"],"value":1}]`)
		x.must(200, "PATCH", "/v1/keys/object", `{"a":null}`)
		e.expect("put", `"parts":[{"op":"delete","path":["a"],"value":null}]`)
		x.must(200, "PUT", "/v1/keys/object?type=object", `{"text":`+large+`,"a":{"b":[1,2]}}`)
		e.expect("put", `"key":"object"`, `"partial":true`)
		x.must(200, "DELETE", "/v1/keys/object", "")
		e.expect("delete", `"key":"object"`)
		e.body.Close()
	})
}

func TestAWatchTellsEveryChangeAndResumes(t *testing.T) {
	serving(t, nil, func(x *fixture) {
		x.must(201, "PUT", "/v1/keys/a/1", `"before"`)
		e := x.watch("match=a/**&snapshot=true")
		e.expect(": watching")
		e.expect("snapshot", `"key":"a/1"`, `"value":"before"`)
		e.expect("synced")
		x.must(200, "PUT", "/v1/keys/a/1", `"line\nbreak\u0000"`)
		e.expect("put", `"old":"before"`, `"value":"line\nbreak\u0000"`, `"writer":"n1"`, `"type":"register"`)
		x.must(201, "PUT", "/v1/keys/b", "1")
		x.must(201, "PUT", "/v1/keys/a/2?ttl=1s", "1")
		last := e.expect("put", `"key":"a/2"`)
		e.expect("expired", `"key":"a/2"`, `"old":1`)
		x.must(200, "DELETE", "/v1/keys/a/1", "")
		e.expect("delete", `"key":"a/1"`)
		e.body.Close()

		x.must(201, "PUT", "/v1/keys/a/3", "3")
		e = x.watch("match=a/**", "Last-Event-ID", last.id)
		e.expect(": watching")
		e.expect("expired", `"key":"a/2"`)
		e.expect("delete", `"key":"a/1"`)
		e.expect("put", `"key":"a/3"`)
		e.body.Close()

		for i := range 100 { // more than the history holds
			x.must([]int{201, 200}[min(i, 1)], "PUT", "/v1/keys/a/4", fmt.Sprint(i))
		}
		e = x.watch("match=a/**&last_event_id=" + url.QueryEscape(last.id))
		e.expect(": watching")
		e.expect("lagged")
		e.expect("snapshot", `"key":"a/3"`)
		e.expect("snapshot", `"key":"a/4"`, `"value":99`)
		e.expect("synced")
		e.body.Close()
	})
}

// A watch of quiet keys resumes where it was, however much was written to other keys.
func TestAQuietWatchResumesThoughMuchElseWasWritten(t *testing.T) {
	serving(t, nil, func(x *fixture) {
		e := x.watch("match=a/**")
		if first := e.expect(": watching"); first.id == "" {
			t.Error("no place to resume from until something happens")
		}
		var last event
		for i := range 10 {
			for j := range 20 { // in all three times what the history holds
				x.must([]int{201, 200}[min(i+j, 1)], "PUT", "/v1/keys/b", fmt.Sprint(i, j)[:1])
			}
			last = e.expect(": hb")
		}
		e.body.Close()
		x.must(201, "PUT", "/v1/keys/a/1", "1")
		e = x.watch("match=a/**", "Last-Event-ID", last.id)
		e.expect(": watching")
		e.expect("put", `"key":"a/1"`)
		e.body.Close()
	})
}

func TestAQuietStreamStaysOpen(t *testing.T) {
	serving(t, nil, func(x *fixture) {
		e := x.watch("match=**")
		e.expect(": watching")
		for range 40 { // ten minutes
			e.expect(": hb")
		}
		x.must(201, "PUT", "/v1/keys/k", "1")
		e.expect("put", `"key":"k"`)
		e.body.Close()
	})
}

func TestASlowWatcherLagsAndAStuckOneIsCutOff(t *testing.T) {
	serving(t, nil, func(x *fixture) {
		stuck, well := x.watch("match=**"), x.watch("match=**")
		stuck.expect(": watching")
		well.expect(": watching")
		value := `"` + strings.Repeat("v", 64<<10) + `"`
		for i := range 40 {
			x.must([]int{201, 200}[min(i, 1)], "PUT", "/v1/keys/k", value)
			well.expect("put")
		}
		if n := x.agent.Stats().Subscriptions; n != 2 {
			t.Errorf("%d subscriptions", n)
		}
		well.expect(": hb") // past eventWrite
		if n := x.agent.Stats().Subscriptions; n != 1 {
			t.Errorf("%d subscriptions after the stuck one's time", n)
		}
		x.must(200, "PUT", "/v1/keys/k", "1")
		well.expect("put", `"value":1`)
		well.body.Close()
		stuck.body.Close()
	})
}
