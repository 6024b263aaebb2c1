package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/grafana/dskit/kv/memberlist"
)

// register is a last-writer-wins value in the form dskit merges.
type register struct {
	Stamp uint64
	Value []byte
}

func (r *register) Merge(other memberlist.Mergeable, _ bool) (memberlist.Mergeable, error) {
	if other == nil {
		return nil, nil
	}
	o, ok := other.(*register)
	if !ok {
		return nil, fmt.Errorf("merge of %T into a register", other)
	}
	if o == nil || o.Stamp <= r.Stamp {
		return nil, nil
	}
	*r = *o
	return r.Clone(), nil
}

// MergeContent names one part, so that a newer write replaces an older unsent one.
func (r *register) MergeContent() []string                { return []string{"value"} }
func (r *register) RemoveTombstones(time.Time) (int, int) { return 0, 0 }
func (r *register) Clone() memberlist.Mergeable           { return &register{r.Stamp, slices.Clone(r.Value)} }

// registers is the codec: eight bytes of stamp, then the value.
type registers struct{}

func (registers) CodecID() string { return "register" }

func (registers) Encode(v any) ([]byte, error) {
	r, ok := v.(*register)
	if !ok {
		return nil, fmt.Errorf("encode of %T, want a register", v)
	}
	return append(binary.BigEndian.AppendUint64(nil, r.Stamp), r.Value...), nil
}

func (registers) Decode(b []byte) (any, error) {
	if len(b) < 8 {
		return nil, errors.New("a register has at least 8 bytes")
	}
	return &register{binary.BigEndian.Uint64(b), slices.Clone(b[8:])}, nil
}
