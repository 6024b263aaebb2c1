package hold

import (
	"context"
	"testing"
	"time"
)

func TestAnItemIsGivenBackThatCameWithASignal(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	c, given := interrupted(t, "POST /v1/queues/q/items/i/extend", stop)
	w := work{Client: c, queue: "q", argv: []string{"false"}, ttl: time.Minute}
	if err := w.run(ctx); err != nil {
		t.Error(err)
	}
	givenBack(t, given)
}
