package crdt

import "github.com/cespare/xxhash/v2"

// The checksums are sums of numbers, one for each covered record, so they do not depend on
// the order of arrival. A record's number, its share, is a hash of its dot and its content.
// So the checksums of two peers differ if one lacks a dot, and also if they hold one dot
// with two contents.

// hash returns a hash of the actor's dot seq.
func (st *actorState) hash(seq uint64) uint64 {
	x := st.salt ^ seq*0x9e3779b97f4a7c15
	x = (x ^ x>>32) * 0xd6e8feb86659fd93
	x = (x ^ x>>32) * 0xd6e8feb86659fd93
	return x ^ x>>32
}

// fingerprint returns a hash of the content of r. It leaves out the past, because each peer
// forgets the past at another time.
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

// addShare adds r's share to the checksums if n is 1, and subtracts it if n is -1.
func (s *Store) addShare(r *record, n int64) {
	h := s.share(r) * uint64(n)
	s.sum += h
	s.sums[r.shard] += h
}

// Resum computes the checksums anew from the live records. If a memory fault changes a
// value, the share that its removal subtracts is not the share that was added, and the
// checksums would be wrong for ever after.
func (s *Store) Resum() {
	s.sum, s.sums = 0, [256]uint64{}
	for _, st := range s.active {
		for _, r := range st.live {
			if r != nil && s.checksummed(r) {
				s.addShare(r, 1)
			}
		}
	}
}

// shardOf returns the shard of key. All versions must compute the same shard, because peers
// compare checksums shard by shard.
func shardOf(key string) uint8 {
	h := uint32(2166136261)
	for i := range len(key) {
		h = (h ^ uint32(key[i])) * 16777619
	}
	return uint8(h ^ h>>8 ^ h>>16 ^ h>>24)
}

// Sum returns the checksum of the whole store.
func (c *checksums) Sum() uint64 { return c.sum }

// Sums returns the checksum of each shard. The caller must not change them.
func (c *checksums) Sums() *[256]uint64 { return &c.sums }

// checksums show whether two stores with equal contexts have equal records. They are sums
// of the shares of all records that are checksummed, in total and for each shard of keys.
type checksums struct {
	sums [256]uint64
	sum  uint64
}
