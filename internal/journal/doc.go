// Package journal keeps what a process did in a folder, so that its next life can do it again. A
// journal is a log of frames and snapshots that stand for the frames before them. A frame is one
// append: a list of sections, which are bytes that mean nothing here. A replay gives the sections of
// the newest snapshot, then the frames after it, in the order of their numbers.
//
// # Files
//
// Segments and snapshots are numbered in one sequence, in 16 hexadecimal digits:
//
//	LOCK                    locked by the process that has the folder open; its content is the process id
//	000000000000000a.seg    a segment: frames one after another in a file with space set aside
//	000000000000000b.snap   a snapshot: chunks of sections, compressed by zstd, and a SHA-256 of the file
//	000000000000000c.tmp    a snapshot that is being written
//
// A file begins with its header, twice, in 4 KiB each. A frame is a header of 32 B and a body; all
// integers are little-endian:
//
//	4 B mark, 4 B CRC of the salt, the frame's place in the file and the rest of this header,
//	4 B length of the body, 4 B CRC of the salt and the body, 8 B number, 8 B number that is claimed
//
// The CRCs are CRC32C. They begin with the file's salt, which is random, so no value that somebody
// has stored looks like a frame. A claim of n says that all frames up to n were on the disk when the
// frame was written. A frame without a body is only a claim.
//
// # Rules
//
//	J1  A frame that a flush has reported as synced is read again after any loss of power, or a
//	    gap of the report says that it is missing.
//	J2  A life writes to no file of an earlier life, and no byte of a file is written twice.
//	J3  A file that a write or a sync has failed on is never written or synced again. A sync that
//	    fails leaves pages that look clean and are not on the disk. The frames that no sync
//	    covers are written anew from memory, to a new segment.
//	J4  No claim rests on a page that another life wrote and that no claim of its covers, since
//	    that page may be in memory only. This life writes such frames anew, or waits for a snapshot.
//	J5  The end of the log that no claim covers and that cannot be read is cut off. What a claim
//	    covers and cannot be read is a gap: the frames after it are read, and marked.
//	J6  Memory is bounded whatever the files hold: by the largest frame for reading, and by the
//	    backlog for writing.
//
// A claim comes with the next frame, so damage to the last frames before a loss of power looks like
// a cut end. Claim writes one while the log is idle, and Close writes one.
package journal
