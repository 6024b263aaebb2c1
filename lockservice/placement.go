package lockservice

import "slices"

// shards is the number of groups into which locks are divided by their names. Each shard has its
// own owner, so a voter that leaves moves only the locks that it owned.
const shards = 64

// shardOf returns the shard of a lock.
func shardOf(lock string) int { return int(mix(hash64(lock)) % shards) }

// ranking returns a copy of names ordered by their rendezvous score for a shard, highest first
// (Thaler and Ravishankar, 1998). The first voter of the ranking that is up owns the shard.
// Peers agree on it because the order depends on the names alone.
func ranking(shard int, names []string) []string {
	ranked := slices.Clone(names)
	slices.SortFunc(ranked, func(a, b string) int {
		x, y := score(shard, a), score(shard, b)
		switch {
		case x > y || x == y && a < b:
			return -1
		case a == b:
			return 0
		}
		return 1
	})
	return ranked
}

func score(shard int, name string) uint64 { return mix(hash64(name) ^ mix(uint64(shard)+1)) }

// hash64 returns the FNV-1a hash of its argument.
func hash64(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return h
}

// mix is the finalizer of SplitMix64: FNV leaves the high bits of short names alike.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
