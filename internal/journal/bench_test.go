package journal_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/sentinel-peer/sentinel-peer/internal/journal"
)

// BenchmarkSynced is an append of 237 B that waits for the disk, by callers that share syncs. The
// folder is in TMPDIR, which must be on the disk in question.
func BenchmarkSynced(b *testing.B) {
	for _, callers := range []int{1, 64, 512} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			log, _, err := journal.Open(journal.Dir(b.TempDir()), journal.Options{}, nothing)
			if err != nil {
				b.Fatal(err)
			}
			section := random(237)
			b.ReportAllocs()
			b.ResetTimer()
			var all sync.WaitGroup
			for i := range callers {
				all.Go(func() {
					for n := i; n < b.N; n += callers {
						frame, err := log.Append(section)
						if err == nil {
							err = log.Flush(frame, journal.Synced)
						}
						if err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			all.Wait()
			b.StopTimer()
			if err := log.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}

// BenchmarkOpen reads a log of frames of 100 sections of 237 B, plain and encrypted, and a snapshot of the
// same sections. The unit is a section.
func BenchmarkOpen(b *testing.B) {
	for name, keys := range map[string][]journal.Key{"plain": nil, "encrypted": {{1}}} {
		for _, snapshot := range []bool{false, true} {
			b.Run(fmt.Sprintf("%s/snapshot=%t", name, snapshot), func(b *testing.B) {
				const sections, each = 200_000, 100
				dir, o := journal.Dir(b.TempDir()), journal.Options{Keys: keys}
				log, _, err := journal.Open(dir, o, nothing)
				if err != nil {
					b.Fatal(err)
				}
				bytes := random(each * 237)
				frame := make([][]byte, each)
				for i := range frame {
					frame[i] = bytes[i*237:][:237]
				}
				for range sections / each {
					if _, err := log.Append(frame...); err != nil {
						b.Fatal(err)
					}
					if err := log.Flush(log.Stats().Last, journal.Written); err != nil {
						b.Fatal(err)
					}
				}
				if snapshot {
					err = log.Snapshot(func(add func([]byte) error) error {
						for i := range sections {
							if err := add(frame[i%each]); err != nil {
								return err
							}
						}
						return nil
					})
				}
				if err != nil || log.Close() != nil {
					b.Fatal(err)
				}
				b.SetBytes(237)
				b.ResetTimer()
				for n := 0; n < b.N; {
					log, _, err := journal.Open(dir, o, func(r journal.Record) error {
						for range r.Sections {
							n++
						}
						return nil
					})
					if err != nil || log.Close() != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
