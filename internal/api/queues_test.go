package api

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/gossip/transport/memnet"
)

// The clients of one daemon have its lease in common; the token tells their claims apart.
func TestALateClientDoesNotFinishTheNextOnesClaim(t *testing.T) {
	fleet(t, 1, func(t *testing.T, _ *memnet.Network, peers []*agent.Agent) {
		if _, err := call[Enqueued](t, peers[0], "work_enqueue", Request{Queue: "q", Body: []byte(`{"value":1,"id":"a"}`)}); err != nil {
			t.Fatal(err)
		}
		claim := func() (verdict Request) {
			t.Helper()
			got, err := call[List[Claimed]](t, peers[0], "work_claim", Request{Queue: "q", Body: []byte(`{"ttl":"500ms","wait":"1m"}`)})
			if err != nil || len(got.Items) != 1 {
				t.Fatalf("claimed %v, %v", got.Items, err)
			}
			return Request{Queue: "q", ID: "a", Body: fmt.Appendf(nil, `{"lease":%q,"token":%d}`, got.Items[0].Lease, got.Items[0].Token)}
		}
		late := claim()
		time.Sleep(time.Second)
		held := claim()
		for _, name := range []string{"work_complete", "work_fail", "work_extend"} {
			if _, err := Find(name).Do(t.Context(), peers[0], late); !errors.Is(err, agent.ErrClaimLost) {
				t.Errorf("%s of a claim that ran out: %v", name, err)
			}
		}
		if _, err := call[any](t, peers[0], "work_complete", held); err != nil {
			t.Error(err)
		}
	})
}
