package sim

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var (
	mutantRecord = flag.String("mutant-record", "", "this build is broken: find a seed that shows it, shrink it, and write the script here")
	mutantWith   = flag.String("mutant-with", "", "only seeds whose scripts hold this can show it")
	mutantPlay   = flag.String("mutant-play", "", "this build is broken: fail if this script shows it")
)

// mutantSeeds is the number of seeds within which a broken rule must show.
const mutantSeeds = 2000

// The schedules that show the mutants violate nothing in the true build, and are short
// enough for a person to read.
func TestWhatCaughtTheMutantsIsClean(t *testing.T) {
	files, err := filepath.Glob("testdata/mutants/*.txt")
	if err != nil || len(files) < 12 {
		t.Fatalf("%d schedules: %v", len(files), err)
	}
	var sizes []int
	for _, f := range files {
		s := readScript(t, f)
		if bad := failure(s); bad != "" {
			t.Errorf("%s violates %s", f, bad)
		}
		sizes = append(sizes, len(s.Steps))
	}
	slices.Sort(sizes)
	if median := sizes[len(sizes)/2]; median > 20 {
		t.Errorf("the median schedule has %d steps: %v", median, sizes)
	}
}

func readScript(t *testing.T, file string) Script {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ParseScript(string(text))
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return s
}

// TestMutant runs in builds that are broken on purpose: see internal/mutants.
func TestMutant(t *testing.T) {
	switch {
	case *mutantPlay != "":
		if bad := shows(readScript(t, *mutantPlay)); bad != "" {
			t.Fatalf("caught by %s", bad)
		}
	case *mutantRecord != "":
		if _, err := os.Stat(*mutantRecord); err == nil && failure(readScript(t, *mutantRecord)) != "" {
			return
		}
		s, bad := search(t)
		text := fmt.Sprintf("# Caught by %s, seed %d.\n%s", bad, s.Config.Seed, Shrink(s, 1500))
		if err := os.WriteFile(*mutantRecord, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	default:
		t.Skip("only in broken builds")
	}
}

// fates is the number of seeds with which a schedule is tried. A change of the core that
// sends one frame more gives every message another fate, and a schedule should survive it.
const fates = 200

// shows returns the oracle that a schedule violates with one of the seeds.
func shows(s Script) string {
	seed := s.Config.Seed
	for i := range uint64(fates) {
		s.Config.Seed = seed + i
		if bad := failure(s); bad != "" {
			return bad
		}
	}
	return ""
}

// search returns the first drawn script that violates an oracle.
func search(t *testing.T) (Script, string) {
	for seed, left := uint64(0), mutantSeeds; left > 0; seed++ {
		s := Draw(seed, Bounds{})
		if !strings.Contains(s.String(), *mutantWith) {
			continue
		}
		left--
		if *mutantWith != "" { // skips the check that a run is reproducible, which takes a second run
			if r, err := s.Run(Options{}); err != nil || len(r.Violations) == 0 {
				continue
			}
		}
		if bad := failure(s); bad != "" {
			return s, bad
		}
	}
	t.Fatalf("%d seeds did not show it", mutantSeeds)
	return Script{}, ""
}
