package crdttest_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/crdt/crdttest"
)

// lowestBid resolves concurrent bids to the lowest one, which depends on the siblings alone.
func lowestBid(siblings []crdt.Sibling) (crdt.Value, error) {
	lowest := siblings[0].Value
	for _, s := range siblings[1:] {
		if s.Value.Compare(lowest) < 0 {
			lowest = s.Value
		}
	}
	return lowest, nil
}

// In your own package this is func TestLowestBid(t *testing.T).
func ExampleCheckResolver() {
	TestLowestBid := func(t *testing.T) {
		bids := rapid.Map(rapid.IntRange(1, 1000), func(n int) any { return n })
		crdttest.CheckResolver(t, lowestBid, bids)
	}
	_ = TestLowestBid
}

func ExampleCheckJoin() {
	TestMaxIsAJoin := func(t *testing.T) {
		crdttest.CheckJoin(t, rapid.Int64(), func(a, b int64) int64 { return max(a, b) }, encodeInt)
	}
	_ = TestMaxIsAJoin
}

func TestTheExamplesPass(t *testing.T) {
	crdttest.CheckResolver(t, lowestBid, rapid.Map(rapid.IntRange(1, 1000), func(n int) any { return n }))
}
