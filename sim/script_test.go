package sim

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
)

// The files of testdata/scripts say what happens, and what is seen of it:
//
//	play           a new cluster, from the script's lines about the world and its steps
//	step           the same cluster goes on
//	trace          as step, telling every write, frame and merge
//	scenario NAME  one that comes with the package: its moments and its end
func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata/scripts", func(t *testing.T, path string) {
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
	})
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
