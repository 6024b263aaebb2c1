package fleet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-peer/sentinel-peer/internal/api"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/client"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/local"
)

// A client holds a lock through n1, and another one waits through n2. n3 shows both, over
// HTTP, on its page and over MCP. Once n1 is killed, n3 shows the records of the voters
// within two seconds, and says that it does not know the clients of n1.
func TestEveryDaemonShowsTheClientsOfAll(t *testing.T) {
	t.Parallel()
	v := newVoting(t)
	n1, n2, n3 := v.Peers[0], v.Peers[1], v.Peers[2]
	path := client.KeyPath("/v1/locks/", "deploy")
	v.ok(n1.Client.Do(v.ctx, "POST", path, nil, []byte(`{"ttl":"15s","client":"release 4.2"}`), nil, nil))
	waiting, cancel := context.WithCancel(v.ctx)
	ended := make(chan error)
	go func() {
		patient := n2.Client
		patient.Timeout = time.Minute
		ended <- patient.Do(waiting, "POST", path, nil, []byte(`{"ttl":"15s","wait":"1m","client":"rollback"}`), nil, nil)
	}()
	defer func() { cancel(); <-ended }()

	list := func() (l api.LockList) {
		v.ok(n3.Client.Do(v.ctx, "GET", "/v1/locks", nil, nil, nil, &l))
		return l
	}
	v.ok(local.Until(v.ctx, "a waiter", func() error {
		if l := list(); len(l.Items) != 1 || len(l.Items[0].Holders) != 1 || len(l.Items[0].Waiters) != 1 {
			return fmt.Errorf("%+v", l)
		}
		return nil
	}))
	l := list()
	holder, waiter := l.Items[0].Holders[0], l.Items[0].Waiters[0]
	if holder.Peer != "n1" || !strings.HasSuffix(holder.Client, ", says it is release 4.2") || waiter.Peer != "n2" ||
		!strings.HasSuffix(waiter.Client, ", says it is rollback") || len(l.Unknown) > 0 || !l.Certain {
		t.Errorf("n3 lists %+v", l)
	}
	shows(t, n3, "release 4.2", "rollback")

	v.ok(n1.Cmd.Process.Kill())
	_ = n1.Cmd.Wait()
	began := time.Now()
	l = list()
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("the list took %v", took)
	}
	if len(l.Items) != 1 || len(l.Items[0].Holders) != 1 || l.Items[0].Holders[0].Peer != "n1" || l.Items[0].Holders[0].Client != "" ||
		len(l.Items[0].Waiters) != 1 || fmt.Sprint(l.Unknown) != "[n1]" || !l.Certain {
		t.Errorf("without n1 n3 lists %+v", l)
	}
	began = time.Now()
	shows(t, n3, "n1", "rollback")
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("a page and a resource took %v", took)
	}
	var info api.LockInfo
	v.ok(n3.Client.Do(v.ctx, "GET", path, nil, nil, nil, &info))
	if len(info.Waiters) != 1 || info.Source != "voters" || fmt.Sprint(info.Unknown) != "[n1]" {
		t.Errorf("of the lock n3 says %+v", info)
	}
}

// shows fails unless a daemon's page of locks and its MCP resource contain these texts.
func shows(t *testing.T, p *local.Process, want ...string) {
	t.Helper()
	const read = `{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"sentinel://locks"}}`
	for path, body := range map[string]string{"/ui/locks": "", "/mcp": read} {
		method := map[bool]string{true: http.MethodGet, false: http.MethodPost}[body == ""]
		got, err := said(t.Context(), method, "http://"+p.Client.Addr+path, body)
		for _, text := range want {
			if err == nil && !strings.Contains(got, text) {
				err = errors.New("it lacks " + text)
			}
		}
		if err != nil {
			t.Errorf("%s: %v:\n%s", path, err, got)
		}
	}
}

func said(ctx context.Context, method, url, body string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader([]byte(body)))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream, text/html")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = errors.New(res.Status)
	}
	return string(text), err
}
