package sim

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
)

// The files testdata/*.txt have commands, each with its input and the output expected:
//
//	play           makes a cluster from a script, and plays the script
//	step           carries out further steps on that cluster
//	trace          as step, with a line for every write, frame and merge
//	scenario NAME  plays a scenario of the package, and prints its moments and its end
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d scripts: %v", len(files), err)
	}
	for _, path := range files {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) { playFile(t, path) })
	}
}

func playFile(t *testing.T, path string) {
	var c *Cluster
	datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
		switch d.Cmd {
		case "scenario":
			return playScenario(t, d.CmdArgs[0].Key)
		case "play":
			s, err := ParseScript(header(d.Input))
			if err != nil {
				return err.Error()
			}
			if c, err = New(s.Config); err != nil {
				return err.Error()
			}
			c.watch = true
		}
		var told []string
		if d.Cmd == "trace" {
			c.tracer = func(line string) { told = append(told, line) }
		}
		for line := range strings.Lines(d.Input) {
			line = strings.TrimSpace(line)
			if isHeader(line) {
				continue
			}
			if err := c.Do(line); err != nil {
				return err.Error()
			}
		}
		c.tracer = nil
		told = append(told, c.Violations()...)
		if d.Cmd == "trace" {
			return strings.Join(told, "\n")
		}
		return strings.Join(told, "\n") + c.Show(nil)
	})
}

// An empty peer gets a million keys within seconds, in answers that it requests one after
// the other.
func TestAnEmptyPeerJoinsAMillionKeys(t *testing.T) {
	if testing.Short() {
		t.Skip("takes ten seconds and 1.5 GB")
	}
	s, _, err := Scenario("join-a-million")
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.Run(Options{Report: true})
	if err != nil || len(r.Violations) > 0 {
		t.Fatal(err, r.Violations)
	}
	if want := "1 2 3: during=2 (1000000 keys of fill)\n"; r.Final != want {
		t.Errorf("in the end %q, want %q", r.Final, want)
	}
}

func isHeader(line string) bool {
	header, _ := new(Script).header(strings.Fields(line + " ."))
	return header || line == ""
}

func header(input string) string {
	var lines []string
	for line := range strings.Lines(input) {
		if isHeader(strings.TrimSpace(line)) {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return strings.Join(lines, "\n")
}

func playScenario(t *testing.T, name string) string {
	s, _, err := Scenario(name)
	if err != nil {
		return err.Error()
	}
	r, err := s.Run(Options{Report: true})
	if err != nil {
		return err.Error()
	}
	var b strings.Builder
	for _, v := range r.Violations {
		t.Error(v)
	}
	for _, m := range Timeline(r) {
		fmt.Fprintln(&b, m)
	}
	return b.String() + r.Final
}
