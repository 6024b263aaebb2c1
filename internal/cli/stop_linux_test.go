package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"syscall"
	"testing"

	"github.com/sentinel-peer/sentinel-peer/internal/api"
)

// TestAStopTakesNothingFromClients stops the daemon through which a client holds a lock
// and an item: nobody else gets either, and the client goes on at another daemon.
func TestAStopTakesNothingFromClients(t *testing.T) {
	t.Parallel()
	v := newVoting(t)
	n1, n2 := v.peers[0], v.peers[1]
	lockPath, claimPath := keyPath("/v1/locks/", "k"), queuePath("q", "claim")
	v.ok(n1.client.do(v.ctx, "POST", queuePath("q", "items"), map[string][]string{"replicas": {"2"}}, []byte(`{"id":"i","value":1}`), nil, nil))
	var held, renewed api.Lease
	v.ok(n1.client.do(v.ctx, "POST", lockPath, nil, []byte(`{"ttl":"15s"}`), nil, &held))
	var claimed api.List[api.Claimed]
	v.ok(n1.client.do(v.ctx, "POST", claimPath, nil, []byte(`{"ttl":"15s","wait":"5s"}`), nil, &claimed))
	if len(claimed.Items) != 1 {
		t.Fatalf("claimed %+v", claimed)
	}
	v.ok(n1.cmd.Process.Signal(syscall.SIGTERM))
	v.ok(n1.cmd.Wait())

	var r *refusal
	if err := n2.client.do(v.ctx, "POST", lockPath, nil, []byte(`{"wait":"2s"}`), nil, nil); !errors.As(err, &r) || r.Code != "held" {
		t.Errorf("a lock whose client lives: %v", err)
	}
	var again api.List[api.Claimed]
	v.ok(n2.client.do(v.ctx, "POST", claimPath, nil, []byte(`{"wait":"2s"}`), nil, &again))
	if len(again.Items) != 0 {
		t.Errorf("an item whose worker lives was handed to another: %+v", again)
	}

	proof, err := json.Marshal(map[string]string{"lease": held.Lease})
	v.ok(err)
	v.ok(n2.client.do(v.ctx, "PUT", lockPath, nil, proof, nil, &renewed))
	if renewed.Token != held.Token || renewed.Lease != held.Lease {
		t.Errorf("token %d became %d, lease %q became %q", held.Token, renewed.Token, held.Lease, renewed.Lease)
	}
	item := claimed.Items[0]
	verdict := fmt.Appendf(nil, `{"lease":%q,"token":%d}`, item.Lease, item.Token)
	v.ok(n2.client.do(v.ctx, "POST", queuePath("q", "items", "i", "extend"), nil, verdict, nil, nil))
	v.ok(n2.client.do(v.ctx, "POST", queuePath("q", "items", "i", "complete"), nil, verdict, nil, nil))
	v.ok(n2.client.do(v.ctx, "DELETE", lockPath, nil, proof, nil, nil))
	v.ok(n2.client.do(v.ctx, "POST", lockPath, nil, []byte(`{"ttl":"1s"}`), nil, &renewed))
	if renewed.Token <= held.Token {
		t.Errorf("token %d after %d", renewed.Token, held.Token)
	}
}
