package journal_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sentinel-peer/sentinel-peer/internal/journal"
	"github.com/sentinel-peer/sentinel-peer/internal/journal/modelfs"
)

var update = flag.Bool("update", false, "write the golden folders")

// Folders of format 1 are read as they were written, and segments are written alike.
func TestGoldenFoldersAreWrittenAndReadAlike(t *testing.T) {
	for name, keys := range map[string][]journal.Key{"plain": nil, "sealed": {{'k', 'e', 'y'}}} {
		o := journal.Options{SegmentBytes: 10 << 10, Random: seeded(1), Keys: keys}
		fs := modelfs.New()
		if err := writeGolden(fs, o); err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join("testdata", "v1", name)
		if *update {
			store(t, fs, dir)
		}
		golden := modelfs.New()
		files, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			content, err := os.ReadFile(filepath.Join(dir, f.Name()))
			if err != nil {
				t.Fatal(err)
			}
			golden.Write(f.Name(), content)
			if segment := strings.HasSuffix(f.Name(), ".seg"); segment && !bytes.Equal(content, fs.Read(f.Name())) {
				t.Errorf("%s: %s is written differently", name, f.Name())
			}
		}
		var got []string
		_, report, err := journal.Open(golden, o, func(r journal.Record) error {
			for s := range r.Sections {
				got = append(got, fmt.Sprintf("%d %.8s", r.Frame, s))
			}
			return nil
		})
		if want := []string{"0 first", "0 second", "2 second", "2 ", "3 later", "3 33333333", "4 last"}; err != nil || report.Last != 4 || report.Snapshot != 1 || !slices.Equal(got, want) {
			t.Errorf("%s: read %q, %+v, %v", name, got, report, err)
		}
	}
}

// writeGolden is two lives, with a snapshot in the first.
func writeGolden(fs journal.FS, o journal.Options) error {
	for life := range 2 {
		log, _, err := journal.Open(fs, o, nothing)
		if err != nil {
			return err
		}
		add := func(sections ...string) {
			list := make([][]byte, len(sections))
			for i, s := range sections {
				list[i] = []byte(s)
			}
			var frame uint64
			if frame, err = log.Append(list...); err == nil {
				err = log.Flush(frame, journal.Synced)
			}
		}
		if life == 0 {
			add("first")
			err = log.Snapshot(func(save func([]byte) error) error {
				add("second", "") // while the snapshot is written
				if err := save([]byte("first")); err != nil {
					return err
				}
				return save([]byte("second"))
			})
		} else {
			add("later", strings.Repeat("3", 300))
			add("last")
		}
		if err != nil {
			return err
		}
		if err := log.Close(); err != nil {
			return err
		}
	}
	return nil
}

func store(t *testing.T, fs *modelfs.FS, dir string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	names, err := fs.List()
	for _, name := range names {
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), fs.Read(name), 0o644)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}
