package gossip

import (
	"errors"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"

	"github.com/sentinel-peer/sentinel-peer/internal/wire"
)

// codec compresses frames: with zstd those of bulk data over zstdBytes, with s2 all others. Its
// buffers and coders are made at their first use and reused.
type codec struct {
	packed, plain []byte // the last results
	enc           *zstd.Encoder
	dec           *zstd.Decoder
}

const zstdBytes = 64 << 10 // bytes from which bulk data is worth the slower zstd

var errSize = errors.New("decompressed size beyond the limit")

// compress returns p compressed, and the frame's flag for the method. The result is valid until the
// next call.
func (c *codec) compress(p []byte, bulk bool) ([]byte, uint64) {
	if bulk && len(p) > zstdBytes {
		if c.enc == nil {
			// Without a writer the encoder starts no goroutine and cannot fail.
			c.enc, _ = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithLowerEncoderMem(true))
		}
		c.packed = c.enc.EncodeAll(p, c.packed[:0])
		return c.packed, flagZstd
	}
	c.packed = s2.Encode(c.packed[:cap(c.packed)], p)
	return c.packed, flagS2
}

// decompress returns the plain bytes, which are valid until the next call. It allocates at most
// wire.MaxFrameBytes, and for s2 at most a thousand times the compressed size.
func (c *codec) decompress(packed []byte, flags uint64) ([]byte, error) {
	var err error
	switch flags {
	case flagS2:
		n, lenErr := s2.DecodedLen(packed)
		if lenErr != nil || n > wire.MaxFrameBytes || n > 1<<10*len(packed)+1<<10 {
			return nil, errSize
		}
		c.plain, err = s2.Decode(c.plain[:cap(c.plain)], packed)
	case flagZstd:
		if c.dec == nil {
			c.dec, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(wire.MaxFrameBytes), zstd.WithDecoderLowmem(true))
			if err != nil {
				return nil, err
			}
		}
		c.plain, err = c.dec.DecodeAll(packed, c.plain[:0])
	default:
		err = errors.New("unknown compression")
	}
	return c.plain, err
}
