package sim

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// In one seed of so many packets do not pass between some peers, although streams do, by
// a stream of draws of its own. Where that is all that goes wrong, O8 holds.
const (
	blocksOneIn = 4
	blockStream = 0xb10c
)

func drawBlocks(d drawer) Script {
	d.rng = rand.New(rand.NewPCG(d.script.Config.Seed, blockStream))
	d.peers = d.script.Config.Peers
	if !d.may("packets") || !d.one(blocksOneIn) {
		return d.script
	}
	for range 1 + d.rng.IntN(3) {
		at, lasts := d.up(d.script.Ends), d.up(d.script.Ends)
		if d.one(4) {
			at = 0 // they never passed
		}
		a, b := d.sides()
		sides := a + []string{" | ", " > "}[d.rng.IntN(2)] + b
		if d.one(4) { // between any two
			var all []string
			for i := range d.peers {
				all = append(all, fmt.Sprint(i+1))
			}
			sides = strings.Join(all, " | ")
		}
		d.step(at, "block %s", sides)
		if d.one(2) {
			d.step(at+lasts, "unblock %s", sides)
		}
	}
	d.trim()
	return d.script
}
