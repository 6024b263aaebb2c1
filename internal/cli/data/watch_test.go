package data

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/sentinel-peer/sentinel-peer/internal/cli/client"
)

// A watch goes on after the last event or heartbeat that arrived whole, not after one of which
// only a part arrived.
func TestAWatchKnowsWhereToGoOn(t *testing.T) {
	for stream, want := range map[string]string{
		": watching\n\n":                                     "",
		": watching\nid: e.1\n\n":                            "e.1",
		"id: e.1\nevent: put\ndata: {}\n\n":                  "e.1",
		"id: e.1\nevent: put\ndata: {}\n\n: hb\nid: e.9\n\n": "e.9",
		"id: e.1\nevent: put\ndata: {}\n\n: hb\nid: e.9":     "e.1",
		"id: e.1\n\nevent: snapshot\ndata: {}\n\n":           "e.1",
	} {
		var out bytes.Buffer
		w := watching{Client: &client.Client{Out: &out, Output: "ndjson"}}
		err := w.events(&http.Response{Body: io.NopCloser(strings.NewReader(stream))})
		if err != errStreamEnd || w.last != want || strings.Count(out.String(), "{}") != strings.Count(stream, "data") {
			t.Errorf("after %q: %v, on behind %q, want %q; printed %q", stream, err, w.last, want, &out)
		}
	}
}
