package lockservice

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"time"
)

// Bearer is all that is needed to renew or release a lease at any peer. Whoever knows it can do
// so, so its ID is a secret between the holder and the peers.
type Bearer struct {
	Lock  string
	Inst  Inst
	Mode  Mode
	TTL   time.Duration
	Token uint64
}

const bearerBytes = 1 + 3*8 + len(Inst{}.Boot) // length of a raw ID before the name of the peer

// ID encodes all fields except Lock as text that may stand in a URL.
func (b Bearer) ID() string {
	raw := append(make([]byte, 0, bearerBytes+len(b.Inst.Node)), byte(b.Mode))
	for _, n := range []uint64{uint64(b.TTL), b.Token, b.Inst.N} {
		raw = binary.BigEndian.AppendUint64(raw, n)
	}
	raw = append(raw, b.Inst.Boot[:]...)
	return base64.RawURLEncoding.EncodeToString(append(raw, b.Inst.Node...))
}

// ParseBearer decodes what ID returned for a lease on lock; ok is false if id is malformed. That
// it succeeds does not say that there is such a lease: only the voters know.
func ParseBearer(lock, id string) (b Bearer, ok bool) {
	raw, err := base64.RawURLEncoding.DecodeString(id)
	if err != nil || len(raw) <= bearerBytes || len(raw) > bearerBytes+maxNodeBytes || raw[0] > byte(Shared) {
		return b, false
	}
	b = Bearer{Lock: lock, Mode: Mode(raw[0]), TTL: time.Duration(binary.BigEndian.Uint64(raw[1:])),
		Token: binary.BigEndian.Uint64(raw[9:])}
	b.Inst.N = binary.BigEndian.Uint64(raw[17:])
	b.Inst.Node = string(raw[bearerBytes:])
	copy(b.Inst.Boot[:], raw[25:])
	return b, b.Inst.N != 0 && b.Token <= MaxToken
}

func (b Bearer) check(c Config) error {
	if b.Lock == "" || len(b.Lock) > maxLockBytes {
		return &NameError{b.Lock, fmt.Sprintf("want 1 to %d bytes", maxLockBytes)}
	}
	if b.Inst.N == 0 || b.Inst.Node == "" || b.Token > MaxToken {
		return fmt.Errorf("lock %q: %w: that is no lease", b.Lock, ErrNotHolder)
	}
	if err := c.validateTTL(b.TTL); err != nil {
		return fmt.Errorf("lock %q: %w", b.Lock, err)
	}
	return nil
}
