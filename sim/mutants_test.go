package sim

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

var (
	mutantRecord = flag.String("mutant-record", "", "this build is broken: find a seed that shows it, shrink it, and write the script here")
	mutantPlay   = flag.String("mutant-play", "", "this build is broken: fail if this script shows it")
)

// mutantSeeds is within how many seeds a broken rule must show.
const mutantSeeds = 2000

// The schedules that caught each broken build violate nothing in the true one, and
// a person can read them.
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

// TestMutant is run in builds that are broken on purpose: see internal/mutants.
func TestMutant(t *testing.T) {
	switch {
	case *mutantPlay != "":
		s := readScript(t, *mutantPlay)
		for range 20 { // a broken build may not play alike
			if bad := failure(s); bad != "" {
				t.Fatalf("caught by %s", bad)
			}
		}
	case *mutantRecord != "":
		for seed := range uint64(mutantSeeds) {
			s := Draw(seed, Bounds{})
			if bad := failure(s); bad != "" {
				small := Shrink(s, 4000)
				text := fmt.Sprintf("# Caught by %s, seed %d.\n%s", bad, seed, small)
				if err := os.WriteFile(*mutantRecord, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
		}
		t.Fatalf("%d seeds did not show it", mutantSeeds)
	default:
		t.Skip("only in broken builds")
	}
}
