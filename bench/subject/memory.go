package subject

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/bench/fleet"
	"github.com/sentinel-peer/sentinel-peer/bench/measure"
)

const memoryKeys = 1_000_000

// Memory measures the memory of a million registers in one agent, beyond their keys and
// values, beside a plain Go map.
func Memory(ctx context.Context) (rows []measure.Row, err error) {
	size := float64(len(key(0)) + len(value))
	base := measure.Heap()
	bare := make(map[string]string)
	for i := range memoryKeys {
		bare[key(i)] = strings.Clone(value)
	}
	reference := float64(measure.Heap()-base)/memoryKeys - size
	runtime.KeepAlive(bare)
	bare = nil

	peers, err := fleet.Open(ctx, 1, agent.Config{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, fleet.Close(peers)) }()
	base = measure.Heap()
	for i := range memoryKeys {
		if err := peers[0].Put(ctx, key(i), strings.Clone(value)); err != nil {
			return nil, err
		}
	}
	// The queues of pending effects are not memory of the keys.
	if err := peers[0].ForceSync(ctx); err != nil {
		return nil, err
	}
	if _, n := peers[0].Digest(); n != memoryKeys {
		return nil, fmt.Errorf("memory: the agent holds %d keys of %d", n, memoryKeys)
	}
	beyond := float64(measure.Heap()-base)/memoryKeys - size
	return []measure.Row{{
		What: "memory of a register beyond key and value", Unit: "B", Measured: beyond, Goal: 160,
		Reference: reference, Against: "map[string]string", Note: fmt.Sprintf("%d keys of %d B, values of %d B", memoryKeys, len(key(0)), len(value)),
	}}, nil
}
