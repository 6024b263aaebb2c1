package crdt

import "github.com/cespare/xxhash/v2"

// The checksums are sums of shares, one of each live record, so that no order shows.
// A share is a hash of the record's dot and of what the record says: peers that hold
// one dot with two contents differ in it as peers do of which one lacks a dot.

// sums reports whether r is part of the checksums: what peers drop at times of
// their own choosing is not.
func (r *record) sums() bool { return r.counts() && r.expiry() == 0 }

// hash identifies a dot.
func (st *actorState) hash(seq uint64) uint64 {
	x := st.salt ^ seq*0x9e3779b97f4a7c15
	x = (x ^ x>>32) * 0xd6e8feb86659fd93
	x = (x ^ x>>32) * 0xd6e8feb86659fd93
	return x ^ x>>32
}

// fingerprint identifies what r says. The past is no part of it: each peer forgets that in
// its own time.
func (r *record) fingerprint() uint64 {
	head := uint64(r.kind) << 1
	if r.tomb {
		head |= 1
	}
	x := fold(xxhash.Sum64String(r.val()), xxhash.Sum64String(r.cell.key()))
	x = fold(fold(x, head), uint64(r.stamp))
	if r.ext != nil && (r.ext.path != "" || r.ext.expiry != 0) {
		x = fold(fold(x, xxhash.Sum64String(r.ext.path)), r.ext.expiry)
	}
	return x
}

// fold mixes x into h.
func fold(h, x uint64) uint64 {
	h = (h ^ x) * 0xd6e8feb86659fd93
	return h ^ h>>32
}

// summed adds r's share to the checksums, or takes it off if n is -1.
func (s *Store) summed(r *record, n int64) {
	h := s.share(r) * uint64(n)
	s.sum += h
	s.sums[r.shard] += h
}

// Resum takes the checksums anew from what is there. A value that broke in memory
// leaves with another share than it came with, and the difference would stay.
func (s *Store) Resum() {
	s.sum, s.sums = 0, [256]uint64{}
	for _, st := range s.active {
		for _, r := range st.live {
			if r != nil && r.sums() {
				s.summed(r, 1)
			}
		}
	}
}

// shardOf spreads keys over the checksums; every peer must agree on it.
func shardOf(key string) uint8 {
	h := uint32(2166136261)
	for i := range len(key) {
		h = (h ^ uint32(key[i])) * 16777619
	}
	return uint8(h ^ h>>8 ^ h>>16 ^ h>>24)
}

// Sum returns the sum over all shards.
func (c *checksums) Sum() uint64 { return c.sum }

// Sums returns the checksum of each shard. The caller must not change them.
func (c *checksums) Sums() *[256]uint64 { return &c.sums }

// checksums tell two stores apart that have seen the same: the sum of the shares of all
// live records that are content and do not expire, as a whole and by shards of keys.
type checksums struct {
	sums [256]uint64
	sum  uint64
}
