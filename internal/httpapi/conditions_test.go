package httpapi

import (
	"net/http"
	"strings"
	"testing"

	"github.com/sentinel-peer/sentinel-peer/internal/api"
)

// Every write is either made on condition or refused with one, as the document says.
func TestNoWriteIsMadeAgainstItsCondition(t *testing.T) {
	serving(t, nil, func(x *fixture) {
		doc, err := described()
		if err != nil {
			t.Fatal(err)
		}
		path := strings.NewReplacer("{key}", "k", "{id}", "1", "{agent}", "a", "{queue}", "q")
		for _, op := range api.Operations {
			if op.Method == "GET" {
				continue
			}
			url := path.Replace(op.Path)
			body := `{"progress":0.5,"capacity":1}` // for those that take one
			req, err := http.NewRequest(op.Method, base+url, nil)
			if err != nil {
				t.Fatal(err)
			}
			if told := documented(doc, req).Parameters.GetByInAndName("header", "If-Match") != nil; told != op.Conditional() {
				t.Errorf("%s: If-Match in the document: %t", op.Name, told)
			}
			if !op.Conditional() {
				x.refused("bad-request", x.must(400, op.Method, url, body, "If-Match", `"00000000000000ff"`), "takes neither If-Match")
				x.refused("bad-request", x.must(400, op.Method, url, body, "If-None-Match", `*`), "takes neither If-Match")
				continue
			}
			x.refused("bad-request", x.must(400, op.Method, url, body, "If-Match", ""), "If-Match")
			x.refused("version-conflict", x.must(412, op.Method, url, body, "If-Match", `"00000000000000ff"`))
		}
		if keys, _ := x.agent.Keys("**"); len(keys) != 0 {
			t.Errorf("refused requests wrote %v", keys)
		}
	})
}
