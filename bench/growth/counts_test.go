package main

import "testing"

// What is counted in virtual time grows no faster than its limit. The sizes are those that take
// seconds.
func TestCountsGrowNoFasterThanTheirLimits(t *testing.T) {
	for _, c := range counts {
		rates, growth, err := c.measure(t.Context(), 50)
		if err != nil {
			t.Fatalf("%s: %v", c.what, err)
		}
		t.Logf("%s, by %s: %v, exponent %.2f", c.what, c.of, rates, growth)
		if growth > c.limit {
			t.Errorf("%s grows with the %s by the exponent %.2f; at most %.1f is allowed", c.what, c.of, growth, c.limit)
		}
	}
}
