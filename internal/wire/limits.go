package wire

// Limits of wire version 1. What exceeds one at a write is refused there; what
// exceeds one in a frame is hostile or foreign.
const (
	MaxKeyBytes    = 1 << 10 // a key
	MaxPathBytes   = 4 << 10 // a path inside an object, encoded
	MaxValueBytes  = 1 << 20 // a value, encoded
	MaxDepth       = 32      // nesting of a value
	MaxFrameDeltas = 4096    // deltas in one frame
	MaxGapRanges   = 1024    // ranges above the base in one causal context
	MaxFrameBytes  = 8 << 20 // a frame, decompressed
	MaxPacketBytes = 1100    // a frame that travels as one packet
	MaxActors      = 1 << 16 // actors in the table of one frame
	MaxListed      = 1 << 18 // actors that one context names
)
