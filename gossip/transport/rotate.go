package transport

import (
	"encoding/hex"
	"errors"
	"slices"
)

// ErrPlaintext says that a transport was opened without keys: it takes some at its next
// start only, and so do the others.
var ErrPlaintext = errors.New("a cluster without keys gets some, or loses them, by a restart of every peer")

// SetKeys puts other keys in force, as Config.Keys has them: the first seals from now on,
// every one opens. A cluster changes its key without a pause if every peer holds the new
// one before any seals with it, and none seals with the old one before any lets go of it.
// When a key is let go of, all connections are made anew. After an error the old keys
// stay in force.
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

// KeyIDs returns a short name of each key, 8 hexadecimal digits, which tells nothing of
// the key. Within a cluster it is the same on every peer; peers show it to strangers.
func KeyIDs(cluster string, keys [][]byte) ([]string, error) {
	ring, err := streamKeys(cluster, keys)
	var ids []string
	for _, k := range ring {
		ids = append(ids, hex.EncodeToString(k.id[:]))
	}
	return ids, err
}
