package httpapi

import (
	"strings"
	"testing"
)

func TestAPartOfAKeyIsRead(t *testing.T) {
	serving(t, nil, func(x *fixture) {
		x.must(201, "PUT", "/v1/keys/o?type=object", `{"a":{"b/c":1,"s":[2,3]}}`)
		x.must(201, "PUT", "/v1/keys/s?type=set", `["x",7]`)
		for question, want := range map[string]string{
			"o?path=/a/b~1c": `1`, "o?path=/a/s": `[2,3]`, "o?path=/a": `{"b/c":1,"s":[2,3]}`,
			"s?has=%22x%22": `true`, "s?has=7": `true`, "s?has=8": `false`, "s?len=true": `2`,
			"none?has=7": `false`, "none?len=true": `0`,
		} {
			if got := x.must(200, "GET", "/v1/keys/"+question, ""); strings.TrimSpace(got.body) != want {
				t.Errorf("%s: %s; want %s", question, got.body, want)
			}
		}
		for question, want := range map[string]string{
			"s?limit=5": `{"items":[7,"x"],"count":2}`, "s?limit=1": `{"items":[7],"count":2,"next":"Bw"}`, "s?after=Bw": `{"items":["x"],"count":2}`, "s?after=oXg": `{"items":[],"count":2}`,
			"o?limit=2": `{"items":[{"name":"a","value":{"b/c":1,"s":[2,3]}}]}`, "o?path=/a&limit=1": `{"items":[{"name":"b/c","value":1}],"next":"o2IvYw"}`,
			"o?path=/a&after=o2IvYw": `{"items":[{"name":"s","value":[2,3]}]}`, "o?path=/a/s&limit=1": `{"items":[2],"next":"Ag"}`,
		} {
			if got := x.must(200, "GET", "/v1/keys/"+question, ""); strings.TrimSpace(got.body) != want {
				t.Errorf("%s: %s; want %s", question, got.body, want)
			}
		}
		x.must(201, "PUT", "/v1/keys/text", `"x"`)
		x.refused("not-found", x.must(404, "GET", "/v1/keys/none?limit=1", ""))
		x.refused("not-found", x.must(404, "GET", "/v1/keys/o?path=/z&limit=1", ""))
		x.refused("wrong-type", x.must(409, "GET", "/v1/keys/text?limit=1", ""))
		x.refused("wrong-type", x.must(409, "GET", "/v1/keys/o?path=/a/b~1c&limit=1", ""))
		x.refused("wrong-type", x.must(409, "GET", "/v1/keys/s?path=/a&limit=1", ""))
		x.refused("bad-request", x.must(400, "GET", "/v1/keys/s?limit=0", ""), "1 to 1000")
		x.refused("bad-request", x.must(400, "GET", "/v1/keys/s?after=x", ""), "next")
		x.refused("bad-request", x.must(400, "GET", "/v1/keys/s?len=true&limit=1", ""), "only one")
		x.refused("not-found", x.must(404, "GET", "/v1/keys/o?path=/a/z", ""))
		x.refused("wrong-type", x.must(409, "GET", "/v1/keys/o?len=true", ""))
		x.refused("wrong-type", x.must(409, "GET", "/v1/keys/s?path=/a", ""))
		x.refused("bad-request", x.must(400, "GET", "/v1/keys/o?path=a", ""), "/a/b")
		x.refused("bad-request", x.must(400, "GET", "/v1/keys/s?len=true&has=7", ""), "only one")
	})
}
