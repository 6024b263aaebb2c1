package sim

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Bounds limit what a seed may draw. The zero Bounds set no limits.
type Bounds struct {
	Peers    int           // 2 to MaxPeers; 0 draws 2 to 5, rarely 9 to 12
	Duration time.Duration // of the hostile part, 1 ms or more; 0 draws 5 s to 2 min
	Faults   []string      // the allowed faults, of the list Faults; nil allows all
}

// Faults are the names of the faults that a seed may draw.
var Faults = []string{"loss", "double", "late", "queue", "clock", "disk", "tear", "rot", "cut", "one-way", "packets", "bridge", "flap", "suspect", "kill", "wipe", "clone", "pause", "slow", "next", "recorder", "lie"}

// Check returns an error if a bound is out of range or a fault has no such name.
func (b Bounds) Check() error {
	if b.Peers < 0 || b.Peers == 1 || b.Peers > MaxPeers {
		return fmt.Errorf("%d peers; 2 to %d are allowed", b.Peers, MaxPeers)
	}
	if b.Duration < 0 || b.Duration > 0 && b.Duration < time.Millisecond {
		return fmt.Errorf("a duration of %v; at least 1ms is allowed", b.Duration)
	}
	for _, f := range b.Faults {
		if !slices.Contains(Faults, f) {
			return fmt.Errorf("no fault %q; there are %s", f, strings.Join(Faults, ", "))
		}
	}
	return nil
}

// Draw returns the script of a seed. Each seed has its own subset of faults. The workload
// provokes conflicts: few keys, few values, many writes in one millisecond.
func Draw(seed uint64, bounds Bounds) Script {
	d := drawer{rng: rand.New(rand.NewPCG(seed, 0x51)), bounds: bounds}
	d.script.Config.Seed = seed
	d.world()
	d.writes()
	if d.well = d.one(8); d.well {
		d.script.Config = Config{Seed: seed, Peers: d.peers, Batch: d.script.Config.Batch} // without faults
		if bounds.Peers == 0 && d.one(2) {
			d.script.Config.Peers = max(d.peers, 9+d.rng.IntN(4))
		}
	} else {
		d.faults()
	}
	d.queues(seed)
	d.script = drawBlocks(d)
	d.script = drawLocks(d)
	d.script = drawBeats(d)
	d.script = drawReaders(d)
	d.script = drawMemory(d)
	d.script = drawRot(d)
	d.script = drawRecorder(d)
	d.script = drawLies(d)
	d.script = drawDeadlines(d)
	slices.SortStableFunc(d.script.Steps, func(a, b Step) int { return int(a.At - b.At) })
	return d.script
}

// drawMemory gives the stores of some seeds a memory limit.
func drawMemory(d drawer) Script {
	const memoryStream, oneIn = 0x4e3a, 8
	d.rng = rand.New(rand.NewPCG(d.script.Config.Seed, memoryStream))
	if d.one(oneIn) {
		d.script.Config.Memory = 2<<10 + d.rng.IntN(14<<10)
	}
	return d.script
}

// drawRot makes an entry unreadable on the disks of some peers that were killed.
func drawRot(d drawer) Script {
	const rotStream, oneIn = 0x2b07, 3
	d.rng = rand.New(rand.NewPCG(d.script.Config.Seed, rotStream))
	if !d.script.Config.Disk || !d.may("rot") {
		return d.script
	}
	for _, s := range slices.Clone(d.script.Steps) {
		if peer, killed := strings.CutPrefix(s.Do, "kill "); killed && d.one(oneIn) {
			d.step(s.At+1, "rot %s %d", peer, 1+d.rng.IntN(loggedEntries))
		}
	}
	return d.script
}

// drawDeadlines gives keys of some seeds deadlines, mostly keys that are written at about that time.
func drawDeadlines(d drawer) Script {
	const deadlineStream, oneIn = 0xdead, 4
	d.rng = rand.New(rand.NewPCG(d.script.Config.Seed, deadlineStream))
	writes := d.script.Steps
	if !d.one(oneIn) || len(writes) == 0 {
		return d.script
	}
	for range 1 + d.rng.IntN(20) {
		write := writes[d.rng.IntN(len(writes))]
		key := fmt.Sprintf("%s/k%d", []string{"reg", "set", "count", "max", "obj"}[d.rng.IntN(5)], d.rng.IntN(3))
		if words := strings.Fields(write.Do); len(words) > 2 && strings.Contains(words[2], "/k") && !d.one(4) {
			key = words[2]
		}
		do := "persist " + key
		if !d.one(4) {
			do = fmt.Sprintf("expire %s ttl=%v", key, max(d.up([]time.Duration{100 * time.Millisecond, 5 * time.Second, time.Minute}[d.rng.IntN(3)]), time.Millisecond))
		}
		d.step(write.At+d.up(50*time.Millisecond), "%d %s", d.peer(), do)
	}
	d.trim()
	return d.script
}

// drawer draws a script. Each part of the script has a random stream of its own, so that a
// change of one part leaves the others as they are.
type drawer struct {
	rng    *rand.Rand // the stream of the present part
	bounds Bounds
	script Script
	peers  int
	well   bool // the run has no faults
}

// may reports whether a fault is allowed.
func (d *drawer) may(fault string) bool {
	return d.bounds.Faults == nil || slices.Contains(d.bounds.Faults, fault)
}

// one is true with probability 1/n.
func (d *drawer) one(n int) bool { return d.rng.IntN(n) == 0 }

// up returns a duration from 0 up to to, in whole milliseconds.
func (d *drawer) up(to time.Duration) time.Duration {
	return time.Duration(d.rng.Int64N(int64(to))).Round(time.Millisecond)
}

// peer returns the number of a peer.
func (d *drawer) peer() int { return 1 + d.rng.IntN(d.peers) }

// step adds a step to the script. The steps need not be added in the order of time.
func (d *drawer) step(at time.Duration, format string, args ...any) {
	d.script.Steps = append(d.script.Steps, Step{at, fmt.Sprintf(format, args...)})
}

// world draws the peers, the duration, the network, the disks and the clocks.
func (d *drawer) world() {
	c := &d.script.Config
	d.peers = 2 + d.rng.IntN(4)
	if d.one(16) {
		d.peers = 9 + d.rng.IntN(4) // enough for gossip to push by a tree
	}
	d.peers = cmp.Or(d.bounds.Peers, d.peers)
	c.Peers = d.peers
	d.script.Ends = []time.Duration{5 * time.Second, 20 * time.Second, time.Minute, 2 * time.Minute}[d.rng.IntN(4)]
	d.script.Ends = cmp.Or(d.bounds.Duration, d.script.Ends)
	if d.one(2) {
		c.Batch = 20 * time.Millisecond
	}
	if d.one(2) && d.may("loss") {
		c.Loss = float64(1+d.rng.IntN(40)) / 100
	}
	if d.one(2) && d.may("double") {
		c.Double = float64(1+d.rng.IntN(30)) / 100
	}
	if d.one(3) && d.may("late") {
		c.Late = []time.Duration{100 * time.Millisecond, 3 * time.Second, 3 * time.Minute}[d.rng.IntN(3)]
	}
	if d.one(8) && d.may("queue") {
		c.Queue = 1 << 10
	}
	c.Disk = d.one(3) && d.may("disk")
	if d.one(3) && d.may("clock") {
		for range d.peers {
			c.Clocks = append(c.Clocks, d.clock())
		}
	}
}

// clock draws the error of a clock, which rarely exceeds the skew that the cluster allows.
func (d *drawer) clock() Clock {
	var k Clock
	switch d.rng.IntN(12) {
	case 0, 1, 2, 3:
		k.Skew = d.up(20*time.Second) - 10*time.Second
	case 4:
		k.Skew = d.up(2*time.Minute) - time.Minute
	case 5:
		if d.one(4) {
			k.Skew = d.up(2*time.Hour) - time.Hour
		}
	}
	if d.one(3) {
		k.Drift = float64(d.rng.IntN(2001) - 1000)
	}
	return k
}

// faults draws the steps of the faults.
func (d *drawer) faults() {
	ends := d.script.Ends
	some := func(name string, oneIn int, fault func(at, lasts time.Duration)) {
		if !d.one(oneIn) || !d.may(name) {
			return
		}
		for range 1 + d.rng.IntN(3) {
			lasts := d.up(5 * time.Second)
			if d.one(3) {
				lasts = d.up(ends)
			}
			fault(d.up(ends), lasts)
		}
	}
	some("cut", 2, d.split)
	some("one-way", 4, d.oneWay)
	some("bridge", 6, d.bridge)
	some("flap", 6, d.flap)
	some("suspect", 4, func(at, lasts time.Duration) {
		p, q := d.peer(), d.peer()
		for range 1 + d.rng.IntN(3)*d.rng.IntN(3) { // the suspicion may come and go
			d.step(at, "suspect %d %d %v", p, q, lasts)
			at += lasts + d.up(time.Second)
		}
	})
	some("kill", 3, func(at, lasts time.Duration) {
		p := d.peer()
		if d.one(2) { // right after a write whose acknowledgements are awaited
			write := d.script.Steps[d.rng.IntN(len(d.script.Steps))]
			writer, _, _ := strings.Cut(write.Do, " ")
			if _, err := strconv.Atoi(writer); err == nil {
				d.step(write.At, "%s wait", writer)
			}
			at = write.At + d.up(10*time.Millisecond)
		}
		d.step(at, "kill %d", p)
		if d.script.Config.Disk && d.one(3) && d.may("tear") {
			d.step(at, "tear %d %d", p, 1+d.rng.IntN(3))
		}
		if d.script.Config.Disk && d.one(6) && d.may("wipe") {
			d.step(at, "wipe %d", p)
		}
		d.step(at+lasts, "start %d", p)
	})
	some("pause", 4, func(at, lasts time.Duration) {
		p := d.peer()
		d.step(at, "pause %d", p)
		d.step(at+lasts, "resume %d", p)
	})
	some("slow", 6, func(at, lasts time.Duration) {
		p := d.peer()
		d.step(at, "slow %d %v", p, time.Millisecond+d.up(40*time.Millisecond))
		d.step(at+lasts, "slow %d 0s", p)
	})
	if d.script.Config.Disk && d.peers > 2 && d.one(12) && d.may("clone") { // without a third peer, a clone is not noticed
		p := d.peer()
		d.step(d.up(ends), "clone %d %d", p, p%d.peers+1)
	}
	some("next", 6, func(at, _ time.Duration) { d.step(at, "next %d next/k%d", d.peer(), d.rng.IntN(3)) })
	d.trim()
}

// trim removes the steps after the end of the script.
func (d *drawer) trim() {
	d.script.Steps = slices.DeleteFunc(d.script.Steps, func(s Step) bool { return s.At > d.script.Ends })
}

// sides divides the peers into two groups, each in the form of a script.
func (d *drawer) sides() (a, b string) {
	order := d.rng.Perm(d.peers)
	at := 1 + d.rng.IntN(d.peers-1)
	return list(order[:at]), list(order[at:])
}

// list returns the numbers of peers, given by index, in the form of a script: 1,3.
func list(peers []int) string {
	slices.Sort(peers)
	var names []string
	for _, p := range peers {
		names = append(names, fmt.Sprint(p+1))
	}
	return strings.Join(names, ",")
}

// split cuts the peers into two sides.
func (d *drawer) split(at, lasts time.Duration) {
	a, b := d.sides()
	d.step(at, "cut %s | %s", a, b)
	d.step(at+lasts, "heal %s | %s", a, b)
}

// oneWay cuts one side off from what the other sends.
func (d *drawer) oneWay(at, lasts time.Duration) {
	a, b := d.sides()
	d.step(at, "cut %s > %s", a, b)
	d.step(at+lasts, "heal %s > %s", a, b)
}

// bridge cuts the peers into two sides that only one peer connects.
func (d *drawer) bridge(at, lasts time.Duration) {
	if d.peers < 3 {
		return
	}
	order := d.rng.Perm(d.peers)[1:]
	m := 1 + d.rng.IntN(len(order)-1)
	a, b := list(order[:m]), list(order[m:])
	d.step(at, "cut %s | %s", a, b)
	d.step(at+lasts, "heal %s | %s", a, b)
}

// flap cuts and heals the same sides several times.
func (d *drawer) flap(at, _ time.Duration) {
	a, b := d.sides()
	for range 3 + d.rng.IntN(5) {
		d.step(at, "cut %s | %s", a, b)
		at += d.up(3 * time.Second)
		d.step(at, "heal %s | %s", a, b)
		at += d.up(3 * time.Second)
	}
}

// writes draws the workload of the store.
func (d *drawer) writes() {
	n := 20 + d.rng.IntN(150)
	keys := 1 + d.rng.IntN(3)
	at := time.Duration(0)
	for i := range n {
		switch {
		case d.one(3):
			at = d.up(d.script.Ends)
		case d.one(2):
			at += d.up(20 * time.Millisecond)
		}
		do := d.write(i, keys)
		if d.one(12) {
			do += " ; " + d.write(i+n, keys)
		}
		if d.one(12) {
			do = "urgent " + do
		}
		d.step(at, "%d %s", d.peer(), do)
		d.edge(at, do)
		if d.one(40) {
			d.crowd(at)
		}
		if d.one(12) {
			d.step(at, "%d wait", d.peer())
		}
	}
}

// edge adds a second write in the very millisecond in which a write expires, or one
// millisecond before or after it.
func (d *drawer) edge(at time.Duration, do string) {
	_, ttl, expires := strings.Cut(do, "ttl=")
	lasts, err := time.ParseDuration(ttl)
	if !expires || err != nil || !d.one(2) {
		return
	}
	words := strings.Fields(strings.TrimPrefix(do[strings.LastIndex(do, ";")+1:], "urgent "))
	at += lasts + time.Duration(d.rng.IntN(3)-1)*time.Millisecond
	d.step(max(at, 0), "%d %s", d.peer(), []string{"put " + words[1] + " 2", "delete " + words[1], "put " + words[1] + " 1 ttl=1s"}[d.rng.IntN(3)])
}

// crowd adds a burst of one peer: a large set, or many registers.
func (d *drawer) crowd(at time.Duration) {
	p := d.peer()
	if d.one(2) {
		var values []string
		for i := range 30 + d.rng.IntN(200) {
			values = append(values, fmt.Sprint(i))
		}
		d.step(at, "%d add crowd/set %s", p, strings.Join(values, " "))
		return
	}
	for i := range 20 + d.rng.IntN(100) {
		d.step(at, "%d put crowd/%d %s", p, d.rng.IntN(50), quote(strings.Repeat("x", i)))
	}
}

// write draws the i-th write: of any type, or one of those that a fleet of workers makes.
func (d *drawer) write(i, keys int) string {
	key := func(family string) string { return fmt.Sprintf("%s/k%d", family, d.rng.IntN(keys)) }
	small := func() int { return d.rng.IntN(3) }
	field := string(rune('a' + d.rng.IntN(3)))
	switch d.rng.IntN(24) {
	case 0, 1, 2:
		return fmt.Sprintf("put %s %d", key("reg"), small())
	case 3:
		return fmt.Sprintf("delete %s", key("reg"))
	case 4:
		return fmt.Sprintf("put %s %d ttl=%v", key("reg"), small(), max(d.up(5*time.Second), time.Millisecond))
	case 5, 6:
		return fmt.Sprintf("add %s %d %d", key("set"), small(), small())
	case 7:
		return fmt.Sprintf("remove %s %d", key("set"), small())
	case 8:
		return fmt.Sprintf("delete %s", key("set"))
	case 9, 10:
		return fmt.Sprintf("incr %s %d", key("count"), d.rng.IntN(7)-3)
	case 11:
		return fmt.Sprintf("delete %s", key("count"))
	case 12:
		return fmt.Sprintf("max %s %d", key("max"), d.rng.IntN(9))
	case 13:
		return fmt.Sprintf("patch %s %s", key("obj"), quote(map[string]any{field: []any{0, 1, 2, nil}[d.rng.IntN(4)]}))
	case 14:
		return fmt.Sprintf("replace %s %s", key("obj"), quote(map[string]any{field: []any{0, 1, 2, 2, nil}[d.rng.IntN(5)]}))
	case 15:
		return fmt.Sprintf("delete %s", key([]string{"obj", "max"}[d.rng.IntN(2)]))
	case 16:
		return fmt.Sprintf("patch %s %s", key("deep"), quote(map[string]any{field: map[string]any{"n": []int{small()}}, "m": []any{nil, 1, map[string]int{}}[small()]}))
	case 17:
		return []string{"delete " + key("deep"), fmt.Sprintf("replace %s %s", key("deep"), quote(map[string]any{field: []int{small()}}))}[d.rng.IntN(2)]
	case 18:
		return fmt.Sprintf("%s %s %d", []string{"put", "sibling", "max", "add", "incr"}[d.rng.IntN(5)], key("any"), small())
	case 19:
		return fmt.Sprintf("putif %s %d", key("reg"), small())
	case 20:
		return fmt.Sprintf("put once/%d %d", i, i)
	case 21:
		return fmt.Sprintf("delete once/%d", d.rng.IntN(i+1))
	case 22:
		return fmt.Sprintf("patch task-sentinel/tasks/%d %s", small(), quote(map[string]any{"state": []string{"pending", "running", "done"}[small()], "worker": d.peer()}))
	}
	return fmt.Sprintf("put task-sentinel/workers/w%d/beat %d ttl=2s", d.peer(), i)
}
