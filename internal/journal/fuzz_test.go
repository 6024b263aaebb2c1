package journal_test

import (
	"encoding/binary"
	"hash/crc32"
	"strings"
	"testing"

	"github.com/sentinel-peer/sentinel-peer/internal/journal"
	"github.com/sentinel-peer/sentinel-peer/internal/journal/modelfs"
)

// bases returns a folder of two segments and a snapshot for each of a plain and an encrypted log.
func bases(t testing.TB, key journal.Options) (list []*modelfs.FS) {
	t.Helper()
	for _, o := range []journal.Options{{SegmentBytes: 10 << 10, Random: seeded(1)}, key} {
		fs := modelfs.New()
		for range 2 {
			log, _, err := journal.Open(fs, o, nothing)
			if err != nil {
				t.Fatal(err)
			}
			for range 3 {
				n, err := log.Append([]byte("a"), []byte("bc"))
				if err == nil {
					err = log.Flush(n, journal.Synced)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			if err := log.Snapshot(func(add func([]byte) error) error { return add([]byte("abc")) }); err != nil {
				t.Fatal(err)
			}
			if err := log.Close(); err != nil {
				t.Fatal(err)
			}
		}
		list = append(list, fs)
	}
	return list
}

// edit changes bytes of a file: each four bytes of edits are a place, a mask and a number that is not
// used. It then makes the sums of the header and of the first frame right, if resum is set.
func edit(content, edits []byte, resum bool) []byte {
	for ; len(edits) >= 4; edits = edits[4:] {
		at := int(binary.LittleEndian.Uint16(edits))
		if at >= 200 { // the header's fields, and the first 500 bytes of frames
			at = firstFrame + at%500
		}
		if at < len(content) {
			content[at] ^= edits[2]
		}
	}
	if !resum || len(content) < firstFrame+32 {
		return content
	}
	table, le := crc32.MakeTable(crc32.Castagnoli), binary.LittleEndian
	le.PutUint32(content[12:], crc32.Checksum(content[:12], table))
	le.PutUint32(content[96:], crc32.Checksum(content[:96], table))
	salt := crc32.Checksum(content[64:96], table)
	head := content[firstFrame:]
	if n := int(le.Uint32(head[8:])); n < len(head)-32 {
		le.PutUint32(head[12:], crc32.Update(salt, table, head[32:32+n]))
	}
	place := le.AppendUint64(nil, firstFrame)
	le.PutUint32(head[4:], crc32.Update(crc32.Update(salt, table, place), table, head[8:32]))
	return content
}

// Whatever a folder holds, Open ends, and the log works afterwards.
func FuzzOpen(f *testing.F) {
	key := journal.Options{Keys: []journal.Key{{1}}, SegmentBytes: 10 << 10, Random: seeded(1)}
	folders := bases(f, key)
	for i := range byte(8) {
		f.Add(i, false, []byte{})
		f.Add(i, true, []byte{64, 1, 1, 0})
		f.Add(i, true, []byte{244, 1, 255, 0, 20, 2, 255, 0}) // the frame's number and its body
	}
	f.Fuzz(func(t *testing.T, which byte, resum bool, edits []byte) {
		fs := folders[which&1].Copy()
		names, err := fs.List()
		if err != nil {
			t.Fatal(err)
		}
		name := names[int(which>>1)%len(names)]
		fs.Write(name, edit(fs.Read(name), edits, resum))
		log, report, err := journal.Open(fs, key, func(r journal.Record) error {
			for s := range r.Sections {
				_ = s
			}
			return nil
		})
		if err != nil {
			return
		}
		if report.Unread < 0 || report.Unread > 1<<20 || len(report.Gaps) > 100 {
			t.Errorf("%+v", report)
		}
		n, err := log.Append([]byte("x"))
		if err != nil || log.Flush(n, journal.Written) != nil || n != report.Last+1 {
			t.Error(n, err, report)
		}
		if !strings.HasSuffix(name, ".snap") && len(edits) == 0 && report.Last != 6 {
			t.Errorf("%+v", report)
		}
	})
}
