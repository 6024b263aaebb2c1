package httpapi

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/internal/api"
)

func TestABatchIsOneUnit(t *testing.T) {
	serving(t, nil, func(x *fixture) {
		old := x.must(201, "PUT", "/v1/keys/old", "1").header.Get("ETag")
		got := x.must(200, "POST", "/v1/batch", `{"operations":[
			{"op":"put","key":"k","value":{"a":null},"ttl":"1m"},
			{"op":"put","key":"tags","value":["b"],"type":"set","if_absent":true},
			{"op":"add","key":"tags","value":["a",1]},
			{"op":"remove","key":"tags","value":["b"]},
			{"op":"patch","key":"o","value":{"f":1}},
			{"op":"increment","key":"n","value":5},
			{"op":"increment","key":"n","value":-2},
			{"op":"max","key":"top","value":7.5},
			{"op":"check","key":"old","if_version":`+old+`},
			{"op":"check","key":"never","if_absent":true},
			{"op":"delete","key":"old","if_version":`+old+`}]}`)
		var made api.List[api.Written]
		if err := json.Unmarshal([]byte(got.body), &made); err != nil || len(made.Items) != 11 {
			t.Fatal(got.body, err)
		}
		for i, want := range []struct {
			key     string
			created bool
			value   string
		}{{"k", true, ""}, {"tags", true, ""}, {"tags", false, ""}, {"tags", false, ""}, {"o", true, ""}, {"n", true, "5"}, {"n", false, "3"}, {"top", true, "7.5"},
			{"old", false, ""}, {"never", false, ""}, {"old", false, ""}} {
			w := made.Items[i]
			if (w.Value == nil) != (want.value == "") || w.Value != nil && w.Value.String() != want.value {
				t.Errorf("operation %d answers %v, want %q", i, w.Value, want.value)
			}
			if w.Key != want.key || w.Created != want.created || (w.Version == "") != (w.Key == "old" || w.Key == "never") {
				t.Errorf("operation %d made %+v", i, w)
			}
			if w.Version != "" && x.do("GET", "/v1/keys/"+w.Key, "").header.Get("ETag") != `"`+w.Version+`"` {
				t.Errorf("operation %d: %s is not the version of %s", i, w.Version, w.Key)
			}
		}
		x.reads("/v1/keys/tags", `[1,"a"]`)
		x.reads("/v1/keys/n", `3`)
		x.must(404, "GET", "/v1/keys/old", "")
		time.Sleep(2 * time.Minute)
		x.must(404, "GET", "/v1/keys/k", "")
	})
}

func TestABatchSetsDeadlines(t *testing.T) {
	serving(t, nil, func(x *fixture) {
		x.must(200, "POST", "/v1/batch", `{"operations":[
			{"op":"put","key":"stays","value":1,"ttl":"1m"},
			{"op":"persist","key":"stays"},
			{"op":"put","key":"ends","value":1},
			{"op":"expire","key":"ends","ttl":"1m"}]}`)
		x.reads("/v1/keys/ends", `1`)
		time.Sleep(2 * time.Minute)
		x.must(404, "GET", "/v1/keys/ends", "")
		x.reads("/v1/keys/stays", `1`)
	})
}

func TestADeadlineIsReadAndSet(t *testing.T) {
	serving(t, nil, func(x *fixture) {
		x.must(404, "PUT", "/v1/deadlines/k?ttl=1h", "")
		x.must(404, "DELETE", "/v1/deadlines/k", "")
		x.must(404, "GET", "/v1/deadlines/k", "")
		tag := x.must(201, "PUT", "/v1/keys/k", "1").header.Get("ETag")
		x.reads("/v1/deadlines/k", `{"key":"k"}`)
		x.must(400, "PUT", "/v1/deadlines/k", "")
		for _, method := range []string{"PUT", "GET"} {
			got := x.must(200, method, "/v1/deadlines/k"+map[string]string{"PUT": "?ttl=1h"}[method], "")
			var d api.Deadline
			if err := json.Unmarshal([]byte(got.body), &d); err != nil || d.At == nil || !d.At.Equal(time.Now().Add(time.Hour)) || time.Duration(*d.TTL) != time.Hour || got.header.Get("ETag") != tag {
				t.Errorf("%s: %s %v", method, got.body, got.header)
			}
		}
		x.must(200, "DELETE", "/v1/deadlines/k", "")
		x.reads("/v1/deadlines/k", `{"key":"k"}`)
	})
}

// One operation that cannot be made prevents the whole batch, and is named in the error.
func TestABatchThatIsRefusedWritesNothing(t *testing.T) {
	serving(t, nil, func(x *fixture) {
		x.must(201, "PUT", "/v1/keys/there", "1")
		for _, c := range []struct{ op, code, part string }{
			{`{"op":"put","key":"there","value":2,"if_absent":true}`, "version-conflict", "exists"},
			{`{"op":"put","key":"there","value":2,"if_version":"00000000000000ff"}`, "version-conflict", ""},
			{`{"op":"add","key":"there","value":[1]}`, "wrong-type", "set"},
			{`{"op":"put","key":"a//b","value":1}`, "bad-key", "empty"},
			{`{"op":"put","key":"","value":1}`, "bad-key", ""},
			{`{"op":"put","key":"x","value":18446744073709551616}`, "bad-value", "64 bits"},
			{`{"op":"put","key":"x","value":[1],"type":"counter"}`, "bad-value", "counter"},
			{`{"op":"patch","key":"x","value":[1]}`, "bad-value", ""},
			{`{"op":"max","key":"x","value":"high"}`, "bad-value", ""},
			{`{"op":"assign","key":"x","value":1}`, "bad-request", "put, patch, delete"},
			{`{"op":"put","key":"x"}`, "bad-request", "needs a value"},
			{`{"op":"delete","key":"x","value":1}`, "bad-request", "takes no value"},
			{`{"op":"delete","key":"x","ttl":"1s"}`, "bad-request", "takes no ttl"},
			{`{"op":"expire","key":"there"}`, "bad-request", "needs a ttl"},
			{`{"op":"persist","key":"there","ttl":"1s"}`, "bad-request", "takes no ttl"},
			{`{"op":"patch","key":"x","value":{},"type":"set"}`, "bad-request", "takes no type"},
			{`{"op":"put","key":"x","value":1,"ttl":"soon"}`, "bad-request", "30s"},
			{`{"op":"put","key":"x","value":1,"if_version":"zebra"}`, "bad-request", "if_version"},
			{`{"op":"add","key":"x","value":[]}`, "bad-request", "at least one"},
			{`{"op":"increment","key":"x","value":1.5}`, "bad-request", "integer"},
			{`{"op":"check","key":"there","if_absent":true}`, "version-conflict", "exists"},
			{`{"op":"check","key":"there","if_version":"00000000000000ff"}`, "version-conflict", ""},
			{`{"op":"check","key":"there"}`, "bad-request", "if_version or if_absent"},
			{`{"op":"check","key":"there","if_absent":true,"value":1}`, "bad-request", "takes no value"},
			{`{"op":"put","key":"x","value":1},{"op":"check","key":"x","if_absent":true}`, "bad-request", "must come before"},
			{`{"op":"put","key":"x","value":1},{"op":"put","key":"x","value":2,"if_absent":true}`, "bad-request", "must come before"},
		} {
			for _, body := range []string{`{"operations":[{"op":"put","key":"first","value":1},` + c.op + `]}`, `{"operations":[` + c.op + `]}`} {
				got := x.do("POST", "/v1/batch", body)
				x.refused(c.code, got, c.part)
				want := strings.Count(body, `"op"`) - 1
				var p Problem
				if err := json.Unmarshal([]byte(got.body), &p); err != nil || p.Index == nil || *p.Index != want {
					t.Errorf("%s: %s, and the fault is that of %d", body, got.body, want)
				}
			}
		}
		many := strings.Repeat(`{"op":"put","key":"x","value":1},`, crdt.MaxOps) + `{"op":"put","key":"x","value":1}`
		x.refused("bad-request", x.must(400, "POST", "/v1/batch", `{"operations":[`+many+`]}`), "1025", "1 to 1024")
		x.refused("bad-request", x.must(400, "POST", "/v1/batch", `{"operations":[]}`), "1 to 1024")
		x.refused("bad-request", x.must(400, "POST", "/v1/batch", `{"operations":[{"key":"x","val":1}]}`), "op, key, value")
		if keys, _ := x.agent.Keys("**"); len(keys) != 1 {
			t.Errorf("refused batches wrote %v", keys)
		}
	})
}

// Rights are checked first: a caller that may not write a key learns nothing about it.
func TestABatchNeedsTheRightOfEachOperation(t *testing.T) {
	c := newCallers(t, "a write:mine read:seen")
	serving(t, c.tune, func(x *fixture) {
		const mine = `{"op":"put","key":"mine/k","value":1}`
		x.must(200, "POST", "/v1/batch", `{"operations":[`+mine+`]}`, as("a")...)
		got := x.must(403, "POST", "/v1/batch", `{"operations":[{"op":"put","key":"mine/2","value":1,"ttl":"soon"},`+mine+`,{"op":"max","key":"yours/k","value":"x"}]}`, as("a")...)
		x.refused("forbidden", got, "write:yours/k")
		const absent = `,"if_absent":true}]}`
		x.must(200, "POST", "/v1/batch", `{"operations":[`+mine+`,{"op":"check","key":"seen/k"`+absent, as("a")...)
		x.refused("forbidden", x.must(403, "POST", "/v1/batch", `{"operations":[`+mine+`,{"op":"check","key":"hidden/k"`+absent, as("a")...), "read:hidden/k")
		if !strings.Contains(got.body, `"index":2`) {
			t.Errorf("which operation it is is not said: %s", got.body)
		}
	})
}

func TestAFlushWaitsForPeers(t *testing.T) {
	serving(t, nil, func(x *fixture) {
		x.must(201, "PUT", "/v1/keys/k", "1")
		x.must(204, "POST", "/v1/flush", "")
		began := time.Now()
		x.refused("not-replicated", x.must(504, "POST", "/v1/flush", `{"replicas":1,"timeout":"45s"}`))
		if d := time.Since(began); d != 45*time.Second {
			t.Errorf("it waited %v", d)
		}
		for _, bad := range []string{`{"replicas":-1}`, `{"replicas":1001}`, `{"timeout":"0s"}`, `{"timeout":"25h"}`, `{"timout":"1s"}`} {
			x.refused("bad-request", x.must(400, "POST", "/v1/flush", bad))
		}
	})
}
