package wire

// Limits of wire version 1. A local write that exceeds one is refused. A frame that exceeds one
// is refused whole: no correct peer sends it.
const (
	MaxKeyBytes      = 1 << 10 // bytes of a key
	MaxPathBytes     = 4 << 10 // bytes of an encoded path inside an object
	MaxValueBytes    = 1 << 20 // bytes of an encoded value
	MaxDepth         = 32      // levels of nesting of a value
	MaxSectionDeltas = 4096    // deltas in one section of a frame
	MaxGapRanges     = 1024    // ranges above the bases in one causal context, of all its actors together
	MaxFrameBytes    = 8 << 20 // bytes of a frame after decompression
	MaxPacketBytes   = 1100    // bytes of a frame that is sent as one datagram
	MaxActors        = 1 << 16 // actors in the table of one frame
	MaxListed        = 1 << 18 // actors that one causal context names
)
