package mcpbridge

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// hung returns a daemon that does not answer some of the methods.
func hung(hangs func(method string) bool) func(*http.Request) (*http.Response, error) {
	return func(r *http.Request) (*http.Response, error) {
		m := struct {
			Method string
			ID     json.RawMessage
		}{Method: r.Method}
		if r.Body != nil {
			if err := json.NewDecoder(r.Body).Decode(&m); err != nil {
				return nil, err
			}
		}
		if hangs(m.Method) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		}
		res := &http.Response{StatusCode: http.StatusAccepted, Header: http.Header{"Content-Type": {"application/json"}}, Body: http.NoBody}
		if m.Method == "GET" {
			res.StatusCode = http.StatusOK // and the stream ends at once
		} else if m.ID != nil {
			res.StatusCode = http.StatusOK
			res.Header.Set("Mcp-Session-Id", "s")
			res.Body = io.NopCloser(strings.NewReader(fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":{"protocolVersion":"2025-06-18","serverInfo":{}}}`, m.ID)))
		}
		return res, nil
	}
}

// A daemon that leaves requests unanswered keeps neither later requests from being answered nor the
// bridge from ending.
func TestADaemonThatHangs(t *testing.T) {
	const subscribe = `{"jsonrpc":"2.0","id":1,"method":"resources/subscribe","params":{"uri":"sentinel://keys/k"}}`
	talks := func(t *testing.T, hangs func(method string) bool, do func(t *testing.T, c *talk)) {
		synctest.Test(t, func(t *testing.T) {
			c := start(t, "daemon", hung(hangs), func() {})
			c.greet()
			do(t, c)
			c.end()
		})
	}
	t.Run("at notifications", func(t *testing.T) {
		talks(t, func(method string) bool { return strings.HasPrefix(method, "notifications/") }, func(_ *testing.T, c *talk) {
			c.send(`{"jsonrpc":"2.0","id":1,"method":"ping"}`)
			c.gets(`"id":1`, `"result"`)
			c.send(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}`)
		})
	})
	t.Run("at the stream of updates", func(t *testing.T) {
		talks(t, func(method string) bool { return method == "GET" }, func(_ *testing.T, c *talk) {
			c.send(subscribe)
			c.gets(`"id":1`, `"result"`)
		})
	})
	t.Run("at a subscription that is made again", func(t *testing.T) {
		var tries atomic.Int32
		talks(t, func(method string) bool { return method == "resources/subscribe" && tries.Add(1) > 1 }, func(t *testing.T, c *talk) {
			c.send(subscribe)
			c.gets(`"id":1`, `"result"`)
			time.Sleep(2 * requestTime)
			if n := tries.Load(); n < 3 {
				t.Errorf("subscribed %d times; it is not tried again", n)
			}
		})
	})
}
