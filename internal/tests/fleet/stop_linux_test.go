package fleet

import (
	"encoding/json"
	"errors"
	"fmt"
	"syscall"
	"testing"

	"github.com/sentinel-peer/sentinel-peer/internal/api"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/client"
)

// TestAStopTakesNothingFromClients stops the daemon through which a client holds a lock and
// an item. No other client gets either, and the client goes on at another daemon.
func TestAStopTakesNothingFromClients(t *testing.T) {
	t.Parallel()
	v := newVoting(t)
	n1, n2 := v.Peers[0], v.Peers[1]
	lockPath, claimPath := client.KeyPath("/v1/locks/", "k"), client.QueuePath("q", "claim")
	v.ok(n1.Client.Do(v.ctx, "POST", client.QueuePath("q", "items"), map[string][]string{"replicas": {"2"}}, []byte(`{"id":"i","value":1}`), nil, nil))
	var held, renewed api.Lease
	v.ok(n1.Client.Do(v.ctx, "POST", lockPath, nil, []byte(`{"ttl":"15s"}`), nil, &held))
	var claimed api.List[api.Claimed]
	v.ok(n1.Client.Do(v.ctx, "POST", claimPath, nil, []byte(`{"ttl":"15s","wait":"5s"}`), nil, &claimed))
	if len(claimed.Items) != 1 {
		t.Fatalf("claimed %+v", claimed)
	}
	v.ok(n1.Cmd.Process.Signal(syscall.SIGTERM))
	v.ok(n1.Cmd.Wait())

	var r *client.Refusal
	if err := n2.Client.Do(v.ctx, "POST", lockPath, nil, []byte(`{"wait":"2s"}`), nil, nil); !errors.As(err, &r) || r.Code != "held" {
		t.Errorf("a lock whose client lives: %v", err)
	}
	var again api.List[api.Claimed]
	v.ok(n2.Client.Do(v.ctx, "POST", claimPath, nil, []byte(`{"wait":"2s"}`), nil, &again))
	if len(again.Items) != 0 {
		t.Errorf("an item whose worker lives was handed to another: %+v", again)
	}

	proof, err := json.Marshal(map[string]string{"lease": held.Lease})
	v.ok(err)
	v.ok(n2.Client.Do(v.ctx, "PUT", lockPath, nil, proof, nil, &renewed))
	if renewed.Token != held.Token || renewed.Lease != held.Lease {
		t.Errorf("token %d became %d, lease %q became %q", held.Token, renewed.Token, held.Lease, renewed.Lease)
	}
	item := claimed.Items[0]
	verdict := fmt.Appendf(nil, `{"lease":%q,"token":%d}`, item.Lease, item.Token)
	v.ok(n2.Client.Do(v.ctx, "POST", client.QueuePath("q", "items", "i", "extend"), nil, verdict, nil, nil))
	v.ok(n2.Client.Do(v.ctx, "POST", client.QueuePath("q", "items", "i", "complete"), nil, verdict, nil, nil))
	v.ok(n2.Client.Do(v.ctx, "DELETE", lockPath, nil, proof, nil, nil))
	v.ok(n2.Client.Do(v.ctx, "POST", lockPath, nil, []byte(`{"ttl":"1s"}`), nil, &renewed))
	if renewed.Token <= held.Token {
		t.Errorf("token %d after %d", renewed.Token, held.Token)
	}
}
