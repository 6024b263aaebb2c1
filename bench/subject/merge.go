package subject

import (
	"context"
	"fmt"
	"time"

	"github.com/sentinel-peer/sentinel-peer/bench/measure"
	"github.com/sentinel-peer/sentinel-peer/clock"
	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

const (
	mergeKeys    = 1024
	mergeRounds  = 512 // writes of each key
	mergeSection = 64  // deltas to a section
)

// Merge measures how long a store takes to decode and merge a remote delta of a
// register over an older value, and what that allocates: the goals are one
// allocation to decode, the value, and none to merge.
func Merge(context.Context) ([]measure.Row, error) {
	actors, sections, err := remoteWrites()
	if err != nil {
		return nil, err
	}
	s := crdt.New(crdt.Config{Actor: clock.Actor{Birth: 1, Rand: 1}})
	join := func(sections [][]byte) error {
		for _, b := range sections {
			r := wire.NewReader(b)
			if _, err := s.JoinSection(&r, actors, 1<<62); err != nil {
				return fmt.Errorf("merge: %w", err)
			}
			s.Recycle(s.Changes())
		}
		return nil
	}
	// The first write of each key makes its record, which is not the merge's.
	first := mergeKeys / mergeSection
	if err := join(sections[:first]); err != nil {
		return nil, err
	}
	n := float64(len(sections)-first) * mergeSection
	var took time.Duration
	allocs := allocations(func() {
		start := time.Now()
		err = join(sections[first:])
		took = time.Since(start)
	})
	if err != nil {
		return nil, err
	}
	return []measure.Row{
		{What: "decode and merge of a remote delta", Unit: "ns", Measured: float64(took.Nanoseconds()) / n, Note: "goal of the merge alone: 150 ns"},
		{What: "decode and merge, allocations", Unit: "each", Measured: allocs / n, Goal: 1.01},
	}, nil
}

func remoteWrites() ([]clock.Actor, [][]byte, error) {
	there := clock.Actor{Birth: 1, Rand: 2}
	src := crdt.New(crdt.Config{Actor: there})
	v, err := crdt.ValueOf(value)
	if err != nil {
		return nil, nil, err
	}
	var table crdt.ActorTable
	var sections [][]byte
	var ds []crdt.Delta
	for i := range mergeKeys * mergeRounds {
		got, err := src.Apply(clock.Timestamp(i+1), 0, crdt.Op{Verb: crdt.Put, Key: key(i % mergeKeys), Value: v})
		if err != nil {
			return nil, nil, err
		}
		src.Recycle(src.Changes())
		if ds = append(ds, got...); len(ds) == mergeSection {
			sections = append(sections, src.AppendSection(nil, &table, there, ds[0].Seq(), ds[len(ds)-1].Seq(), ds))
			ds = ds[:0]
		}
	}
	return table.Actors(), sections, nil
}
