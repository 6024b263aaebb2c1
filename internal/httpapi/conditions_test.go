package httpapi

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/sentinel-peer/sentinel-peer/internal/api"
)

// Conditions are those of RFC 9110, 13.1: lists of tags, *, and the weak tags that a proxy makes of
// strong ones when it compresses.
func TestConditionsTakeListsAndWeakTags(t *testing.T) {
	serving(t, nil, func(x *fixture) {
		const other, more = `"00000000000000ff"`, `"0000000000000001"`
		etag := x.must(201, "PUT", "/v1/keys/k", `"v"`).header.Get("ETag")
		for header, status := range map[string]int{
			etag: 304, "W/" + etag: 304, "*": 304, other + ", " + etag: 304, other + ",W/" + etag + `,"zebra, and more"`: 304, other + ", , " + etag: 304,
			other: 200, `W/` + other: 200, `"zebra"`: 200, `zebra`: 200, etag + " " + other: 200, "": 200,
		} {
			if got := x.must(status, "GET", "/v1/keys/k", "", "If-None-Match", header); got.header.Get("ETag") != etag {
				t.Errorf("%s: the tag is %q", header, got.header.Get("ETag"))
			}
		}
		for _, c := range []struct {
			method, key, header, tags string
			status                    int
		}{
			{"PUT", "k", "If-Match", other + ", " + etag, 200},
			{"PUT", "k", "If-Match", "*", 200},
			{"PUT", "none", "If-Match", "*", 412},
			{"PUT", "k", "If-Match", other + ", " + more, 412},
			{"DELETE", "k", "If-Match", other + "," + more, 412},
			{"PUT", "k", "If-Match", "W/" + etag, 412}, // strong comparison
			{"PUT", "k", "If-Match", "W/" + etag + ", " + etag, 200},
			{"PUT", "k", "If-None-Match", other, 200},
			{"PUT", "k", "If-None-Match", other + ", " + etag, 412},
			{"PUT", "k", "If-None-Match", "W/" + etag, 412},
			{"PUT", "none", "If-None-Match", other, 201},
			{"PUT", "k", "If-None-Match", "*", 412},
			{"PUT", "k", "If-Match", etag + " " + other, 400},
			{"PUT", "k", "If-Match", "00000000000000ff", 400},
			{"PUT", "k", "If-None-Match", `"zebra"`, 400},
		} {
			c.tags = strings.ReplaceAll(c.tags, etag, x.do("GET", "/v1/keys/k", "").header.Get("ETag"))
			x.must(c.status, c.method, "/v1/keys/"+c.key, `"v"`, c.header, c.tags)
		}
	})
}

// Every write either obeys its condition or is refused with one, as the OpenAPI document says.
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
			if slices.Contains(op.Params, "ttl") {
				url += "?ttl=1h"
			}
			body := `{"progress":0.5,"capacity":1}` // for the operations that take a body
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
