package sim

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// In one seed of blocksOneIn, packets do not pass between some peers, although streams do.
// The draws come from a random stream of their own. O8 holds where nothing else goes wrong.
const (
	blocksOneIn = 4
	blockStream = 0xb10c
)

// drawBlocks adds the blocks to a script.
func drawBlocks(d drawer) Script {
	d.rng = rand.New(rand.NewPCG(d.script.Config.Seed, blockStream))
	d.peers = d.script.Config.Peers
	if !d.may("packets") || !d.one(blocksOneIn) {
		return d.script
	}
	for range 1 + d.rng.IntN(3) {
		at, lasts := d.up(d.script.Ends), d.up(d.script.Ends)
		if d.one(4) {
			at = 0 // packets do not pass from the beginning
		}
		a, b := d.sides()
		sides := a + []string{" | ", " > "}[d.rng.IntN(2)] + b
		if d.one(4) { // packets pass between no two peers
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
