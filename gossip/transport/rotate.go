package transport

import (
	"encoding/hex"
	"errors"
	"slices"
)

// ErrPlaintext says that SetKeys would change a transport from plain text to keys or back. That
// takes a restart of every peer.
var ErrPlaintext = errors.New("a cluster without keys gets some, or loses them, by a restart of every peer")

// SetKeys replaces Config.Keys: the first key seals from now on, and every key opens. A cluster
// changes its key without a pause if every peer has the new key before any peer seals with it,
// and no peer seals with the old key when the first peer drops it. When a key is dropped, all
// connections are closed and made anew. After an error, one about the keys, ErrPlaintext or
// ErrClosed, the old keys stay in force.
func (m *Memberlist) SetKeys(keys [][]byte) error {
	if err := validateKeys(keys); err != nil {
		return err
	}
	ring, err := streamKeys(m.cfg.Cluster, keys)
	if err != nil {
		return err
	}
	m.lifeMu.Lock()
	defer m.lifeMu.Unlock()
	old := *m.me.keys.Load()
	switch {
	case m.closed || m.left:
		return ErrClosed
	case (len(old) == 0) != (len(ring) == 0):
		return ErrPlaintext
	}
	m.me.keys.Store(&ring)
	m.mux.envelopes.setKeys(ring)
	if slices.ContainsFunc(old, func(o streamKey) bool {
		return !slices.ContainsFunc(ring, func(k streamKey) bool { return k.id == o.id })
	}) {
		m.mux.hangUp(func(string) bool { return true })
	}
	return nil
}

// KeyIDs returns a public name of each key, 8 hexadecimal digits from which the key cannot be
// computed. It depends on the key and the name of the cluster alone.
func KeyIDs(cluster string, keys [][]byte) ([]string, error) {
	ring, err := streamKeys(cluster, keys)
	var ids []string
	for _, k := range ring {
		ids = append(ids, hex.EncodeToString(k.id[:]))
	}
	return ids, err
}
