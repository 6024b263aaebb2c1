package subject

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/bench/fleet"
	"github.com/sentinel-peer/sentinel-peer/bench/measure"
)

const (
	setSize = 10_000
	setAdds = 200
)

// SetAdd measures the bytes on the wire for one more element of a large set, for each of
// two other peers. It counts all bytes on the loopback interface: packet headers,
// acknowledgements and all other traffic of the peers.
func SetAdd(ctx context.Context) (rows []measure.Row, err error) {
	peers, err := fleet.Open(ctx, 3, agent.Config{BatchInterval: agent.AtOnce})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, fleet.Close(peers)) }()
	set := peers[0].Set("set/members")
	element := func(i int) any { return fmt.Sprintf("member-%08d", i) }
	for i := 0; i < setSize; {
		var some []any
		for ; i < setSize && len(some) < 500; i++ {
			some = append(some, element(i))
		}
		if err := set.Add(ctx, some...); err != nil {
			return nil, err
		}
	}
	limit, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := peers[0].WaitReplicated(limit, 2); err != nil {
		return nil, err
	}
	frames, wire, err := sent(peers)
	if err != nil {
		return nil, err
	}
	start := time.Now()
	for i := range setAdds {
		if err := set.Add(ctx, element(setSize+i)); err != nil {
			return nil, err
		}
		if err := peers[0].WaitReplicated(limit, 2); err != nil {
			return nil, err
		}
	}
	took := time.Since(start)
	framesAfter, wireAfter, err := sent(peers)
	if err != nil {
		return nil, err
	}
	if err := fleet.Agree(peers, 1); err != nil {
		return nil, err
	}
	each := func(bytes uint64) float64 { return float64(bytes) / setAdds / 2 }
	return []measure.Row{
		{What: "add to a set of 10,000, frames for one peer", Unit: "B", Measured: each(framesAfter - frames), Goal: 300,
			Note: "what all peers sent, with acknowledgements"},
		{What: "add to a set of 10,000, all on the wire for one peer", Unit: "B", Measured: each(wireAfter - wire),
			Note: fmt.Sprintf("%d adds in %v", setAdds, took.Round(time.Millisecond))},
	}, nil
}

// sent returns the bytes of the frames all peers have sent, and of everything on
// the loopback interface.
func sent(peers []*agent.Agent) (frames, wire uint64, err error) {
	for _, p := range peers {
		frames += p.Stats().Gossip.BytesSent
	}
	wire, err = measure.Loopback()
	return frames, wire, err
}
