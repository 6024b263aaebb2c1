package journal_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/sentinel-peer/sentinel-peer/internal/journal"
)

// asWriter has the folder of the process that TestAKilledProcessLosesNothing kills.
const asWriter = "JOURNAL_TEST_WRITER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(asWriter); dir != "" {
		if err := writeOn(journal.Dir(dir)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// writeOn appends the numbers after those that it finds, and prints each that was flushed. Some flushes
// are synced, and a snapshot comes from time to time.
func writeOn(dir journal.Dir) error {
	last := uint64(0)
	log, _, err := journal.Open(dir, journal.Options{SegmentBytes: 64 << 10}, func(r journal.Record) error {
		for s := range r.Sections {
			last = max(last, binary.LittleEndian.Uint64(s))
		}
		return nil
	})
	for n := last + 1; err == nil; n++ {
		section := append(binary.LittleEndian.AppendUint64(nil, n), make([]byte, n%700)...)
		var frame uint64
		if frame, err = log.Append(section); err != nil {
			break
		}
		if err = log.Flush(frame, journal.Level(n%2)); err != nil {
			break
		}
		if n%100 == 0 {
			err = errors.Join(log.Snapshot(func(add func([]byte) error) error { return add(section) }), prune(log))
		}
		fmt.Println(n)
	}
	return err
}

func prune(log *journal.Log) error {
	_, err := log.Prune(^uint64(0))
	return err
}

// What a process has flushed is there after it was killed, whatever it was doing.
func TestAKilledProcessLosesNothing(t *testing.T) {
	rounds := 20
	if testing.Short() {
		rounds = 4
	}
	dir := filepath.Join(t.TempDir(), "data")
	confirmed := uint64(0)
	for round := range rounds {
		writer := exec.Command(os.Args[0])
		writer.Env = append(os.Environ(), asWriter+"="+dir)
		var stderr bytes.Buffer
		writer.Stderr = &stderr
		out, err := writer.StdoutPipe()
		if err == nil {
			err = writer.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewReader(out)
		for line := 0; ; line++ {
			n := uint64(0)
			if _, err := fmt.Fscanln(lines, &n); errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			if line == 0 && n <= confirmed {
				t.Fatalf("round %d: %d comes again after %d was confirmed", round, n, confirmed)
			}
			confirmed = n
			if line == 37*round%211 {
				if err := writer.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := writer.Wait(); stderr.Len() > 0 {
			t.Fatalf("%v: %s", err, stderr.Bytes())
		}
	}
	if confirmed < uint64(rounds) {
		t.Errorf("only %d were confirmed", confirmed)
	}
}

// A real file system that is full refuses, loses nothing, and goes on when there is space.
func TestAFullFileSystem(t *testing.T) {
	root := t.TempDir()
	if err := mountSmall(root, 4<<20); err != nil {
		t.Skip("no file system of 4 MiB can be mounted: ", err)
	}
	defer unmount(t, root)
	ballast := filepath.Join(root, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 2<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	dir, o := journal.Dir(filepath.Join(root, "data")), journal.Options{SegmentBytes: 512 << 10}
	log, _, err := journal.Open(dir, o, nothing)
	if err != nil {
		t.Fatal(err)
	}
	var frame uint64
	for err == nil {
		if frame, err = log.Append(random(10_000)); err == nil {
			err = log.Flush(frame, journal.Synced)
		}
	}
	if !errors.Is(err, syscall.ENOSPC) || frame < 100 || log.Stats().Synced != frame-1 {
		t.Errorf("frame %d: %v, %+v", frame, err, log.Stats())
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	if err := log.Flush(frame, journal.Synced); err != nil {
		t.Error(err)
	}
	if err := log.Close(); err != nil {
		t.Error(err)
	}
	if got := look(t, dir, o); uint64(len(got.frames)) != frame {
		t.Errorf("%+v", got.report)
	}
}
