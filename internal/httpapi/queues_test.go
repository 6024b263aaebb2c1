package httpapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/sentinel-peer/sentinel-peer/agent/workqueue"
	"github.com/sentinel-peer/sentinel-peer/internal/api"
)

func (x *fixture) claim(body string) []api.Claimed {
	x.t.Helper()
	var got api.List[api.Claimed]
	if err := json.Unmarshal([]byte(x.must(http.StatusOK, "POST", "/v1/queues/mail/claim", body).body), &got); err != nil {
		x.t.Fatal(err)
	}
	return got.Items
}

func claimBody(c api.Claimed, more string) string {
	return fmt.Sprintf(`{"lease":%q,"token":%d%s}`, c.Lease, c.Token, more)
}

func TestAWorkQueueOverHTTP(t *testing.T) {
	serving(t, nil, func(x *fixture) {
		x.must(http.StatusCreated, "POST", "/v1/queues/mail/items", `{"value":{"to":"ada"},"priority":1,"id":"a"}`)
		x.must(http.StatusOK, "POST", "/v1/queues/mail/items", `{"value":2,"id":"a"}`)
		x.must(http.StatusCreated, "POST", "/v1/queues/mail/items", `{"value":2,"delay":"1h"}`)
		x.must(http.StatusCreated, "POST", "/v1/queues/mail/items", `{"value":3,"id":"c"}`)
		list := x.claim(`{"wait":"5s","ttl":"10s","max":5}`)
		if len(list) != 2 || list[0].ID != "a" || list[0].Attempt != 1 || list[0].Value.Field("to").Any() != "ada" || list[1].ID != "c" {
			t.Fatalf("claimed %+v", list)
		}
		if more := x.claim(`{"wait":"1s"}`); len(more) != 0 {
			t.Errorf("claimed %+v", more)
		}
		a, c := list[0], list[1]
		at := func(verb string, c api.Claimed) string { return "/v1/queues/mail/items/" + c.ID + "/" + verb }
		x.must(http.StatusOK, "POST", at("extend", a), claimBody(a, ""))
		x.must(http.StatusNoContent, "POST", at("complete", a), claimBody(a, `,"result":"sent"`))
		x.refused("claim-lost", x.do("POST", at("complete", a), claimBody(a, "")))
		forged := c
		forged.Token++
		x.refused("claim-lost", x.do("POST", at("complete", c), claimBody(forged, "")))
		forged = c
		forged.Lease = "another"
		x.refused("claim-lost", x.do("POST", at("extend", c), claimBody(forged, "")))
		x.must(http.StatusNoContent, "POST", at("fail", c), claimBody(c, `,"error":"no route","retry":"never"`))
		var d workqueue.Depth
		if err := json.Unmarshal([]byte(x.must(http.StatusOK, "GET", "/v1/queues/mail", "").body), &d); err != nil {
			t.Fatal(err)
		}
		if want := (workqueue.Depth{Delayed: 1, Done: 1, Dead: 1}); d != want {
			t.Errorf("depth %+v, want %+v", d, want)
		}
		x.must(http.StatusOK, "POST", "/v1/queues/mail/requeue", `{"ids":["c"]}`)
		x.must(http.StatusOK, "GET", "/v1/queues/mail/items", "")
		if done := x.must(http.StatusOK, "GET", "/v1/queues/mail/items/a", "").body; strings.Contains(done, `"value"`) || !strings.Contains(done, `"result":"sent"`) {
			t.Errorf("a done item shows as %s", done)
		}
		x.refused("barred", x.must(http.StatusConflict, "POST", "/v1/locks/queues%2Fmail%2Fa", ""), "certifies it no more")
		x.must(http.StatusOK, "POST", "/v1/queues/mail/drain", "")
		x.refused("draining", x.do("POST", "/v1/queues/mail/items", `{"value":1}`))
		x.must(http.StatusNoContent, "POST", "/v1/queues/mail/resume", "")
		x.must(http.StatusNoContent, "POST", "/v1/queues/mail/pause", "")
		x.must(http.StatusOK, "DELETE", "/v1/queues/mail?state=delayed", "")
		x.must(http.StatusOK, "GET", "/v1/queues", "")
		for _, bad := range []string{`{}`, `{"value":1,"delay":"x"}`, `{"value":1,"max_attempts":-1}`, `{"val":1}`} {
			x.refused("bad-request", x.do("POST", "/v1/queues/mail/items", bad))
		}
		for _, bad := range []string{`{"max":0}`, `{"max":257}`, `{"ttl":"1ms"}`, `{"wait":"-1s"}`} {
			x.refused("bad-request", x.do("POST", "/v1/queues/mail/claim", bad))
		}
		x.refused("bad-key", x.do("POST", "/v1/queues/a%23b/items", `{"value":1}`))
		x.refused("not-found", x.do("GET", "/v1/queues/mail/items/zz", ""))
	})
}
