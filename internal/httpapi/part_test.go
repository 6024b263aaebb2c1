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
		x.refused("not-found", x.must(404, "GET", "/v1/keys/o?path=/a/z", ""))
		x.refused("wrong-type", x.must(409, "GET", "/v1/keys/o?len=true", ""))
		x.refused("wrong-type", x.must(409, "GET", "/v1/keys/s?path=/a", ""))
		x.refused("bad-request", x.must(400, "GET", "/v1/keys/o?path=a", ""), "/a/b")
		x.refused("bad-request", x.must(400, "GET", "/v1/keys/s?len=true&has=7", ""), "only one")
	})
}
