package transport

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"github.com/hashicorp/memberlist"
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
	switch {
	case m.closed || m.left:
		return ErrClosed
	case (m.ring == nil) != (len(keys) == 0):
		return ErrPlaintext
	case m.ring == nil:
		return nil
	}
	m.me.keys.Store(&ring)
	gone, err := turn(m.ring, keys)
	if gone {
		m.mux.hangUp(func(string) bool { return true })
	}
	return err
}

// turn gives a ring these keys, and reports whether others had to go.
func turn(ring *memberlist.Keyring, keys [][]byte) (gone bool, err error) {
	for _, k := range keys {
		err = errors.Join(err, ring.AddKey(k))
	}
	old := slices.DeleteFunc(slices.Clone(ring.GetKeys()), func(k []byte) bool {
		return slices.ContainsFunc(keys, func(o []byte) bool { return bytes.Equal(o, k) })
	})
	use := keys[:1]
	if len(old) > 0 {
		use = keys // those to go come to the end: RemoveKey moves what is behind one under its readers
	}
	for _, k := range slices.Backward(use) {
		err = errors.Join(err, ring.UseKey(k))
	}
	for _, k := range slices.Backward(old) {
		err = errors.Join(err, ring.RemoveKey(k))
	}
	if err != nil {
		err = fmt.Errorf("keys: %w", err)
	}
	return len(old) > 0, err
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
