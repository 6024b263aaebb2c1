package fleet

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/sentinel-peer/sentinel-peer/internal/cli/client"
)

// A flood of writes ends in refusals at the configured bound. The daemon lives, its memory
// is bounded, deletes make room, and a work queue is worked off meanwhile.
func TestAFloodEndsInRefusals(t *testing.T) {
	if testing.Short() {
		t.Skip("fills a store")
	}
	const bound = 32 << 20
	p := newDaemon(t, "--max-memory", "32MiB")
	ctx := t.Context()
	if said, err := p.command("queue put q 1 --id i").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	value := fmt.Sprintf("%q", strings.Repeat("x", 64<<10))
	put := func(i int) error { return p.Put(ctx, fmt.Sprintf("flood/%d", i), value) }
	stored := 0
	var refused *client.Refusal
	for range 2 * bound / len(value) { // what is refused is asked again
		switch err := put(stored); {
		case err == nil:
			stored++
		case !errors.As(err, &refused):
			t.Fatal(err)
		}
	}
	if refused == nil || refused.Status != 507 || refused.Code != "store-full" || stored < bound/2/len(value) || stored > bound/len(value) {
		t.Fatalf("%d values of %d bytes are stored, then %+v", stored, len(value), refused)
	}
	if got := highWater(t, p.Cmd.Process.Pid); got > 8*bound {
		t.Errorf("the daemon took %d MiB for a store of 32", got>>20)
	} else {
		t.Logf("%d MiB for %d values", got>>20, stored)
	}

	work := p.command("queue work q --count 1 --timeout 5s -- head -c 200000 /dev/zero")
	said, err := work.CombinedOutput()
	if err != nil || !strings.Contains(string(said), "i  completed  ") {
		t.Errorf("%v: %s", err, said)
	}
	item, err := p.command("queue get q i").Output()
	if err != nil || !bytes.Contains(item, []byte(`"result": "(the result was refused: `)) {
		t.Errorf("%v: %s", err, item)
	}

	for i := range 10 {
		if err := p.Client.Do(ctx, "DELETE", client.KeyPath("/v1/keys/", fmt.Sprintf("flood/%d", i)), nil, nil, nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := put(0); err != nil {
		t.Errorf("deletes made no room: %v", err)
	}
}

// highWater returns the peak memory of a process, in bytes.
func highWater(t *testing.T, pid int) (kib int) {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		t.Fatal(err)
	}
	return kib << 10
}
