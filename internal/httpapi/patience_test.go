package httpapi

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestAClientSaysHowLongItWaits(t *testing.T) {
	for _, c := range []struct {
		header []string
		want   time.Duration
	}{
		{nil, callTimeout},
		{[]string{"wait=2"}, 2 * time.Second},
		{[]string{"respond-async, Wait=0.25"}, 250 * time.Millisecond},
		{[]string{"respond-async", `wait="1"`}, time.Second},
		{[]string{"wait=0"}, 0},
		{[]string{"wait=1e300"}, callTimeout},
		{[]string{"wait=Inf", "wait=NaN", "wait=-1", "wait=soon", "wait", "waiting=1"}, callTimeout},
	} {
		if got := patience(&http.Request{Header: http.Header{"Prefer": c.header}}); got != c.want {
			t.Errorf("%q: %v, want %v", c.header, got, c.want)
		}
	}
}

func TestAWriteSaysInTimeWhoLacksIt(t *testing.T) {
	serving(t, nil, func(x *fixture) {
		req, err := http.NewRequestWithContext(x.t.Context(), "PUT", base+"/v1/keys/k?replicas=1", strings.NewReader("1"))
		if err != nil {
			x.t.Fatal(err)
		}
		req.Header.Set("Prefer", "wait=2")
		began := time.Now()
		res, err := x.client.Do(req)
		if err != nil {
			x.t.Fatal(err)
		}
		defer res.Body.Close()
		if text, _ := io.ReadAll(res.Body); !strings.Contains(string(text), "no other peer is up: the time for it is over") {
			x.t.Errorf("%s", text)
		}
		if took := time.Since(began); res.StatusCode != http.StatusGatewayTimeout || took < 2*time.Second || took > 3*time.Second {
			x.t.Errorf("%s after %v", res.Status, took)
		}
	})
}
