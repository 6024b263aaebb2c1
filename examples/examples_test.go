package examples

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-peer/sentinel-peer/agent"
)

// outputs are what each example prints.
var outputs = map[string]string{
	"quickstart": `worker-2 sees tasks/42/state = {"by":"worker-1","status":"running"} by worker-1` + "\n",
	"workers": `eve has a GPU and takes 8 more
bob has a GPU and takes 4 more
eve works on render-1
ann sees render-1 completed by eve
eve left; next is bob
`,
	"lock": `eve sees that ann executes render-1
bob may not: true
bob's late write is refused: true and his lease lost: true
written by eve
`,
	"queue": `an alarm twice is refused: true
bob has alarm first
bob has newsletter, and stalls
eve has newsletter, attempt 2
bob's late result is refused: true
newsletter is done: sent by eve
2 done, 1 dead
`,
	"agents": `planner made "a form with two fields"
coder made "code for a form with two fields"
tester made "passed: code for a form with two fields"
coder: done
planner: done
tester: done
`,
	"resolver": `demo/color   left "blue", right "blue"
demo/tags    left ["gpu","urgent"], right ["gpu","urgent"]
demo/config  left {"limits":{"retries":3,"timeout":30}}, right {"limits":{"retries":3,"timeout":30}}
demo/budget  left 60, right 60
demo/color: "red" by left lost to "blue", by the rule later stamp
`,
	"monitor": `peer-joined worker
task-state-synced first "running" by worker
write task-sentinel/tasks/first/progress 0.5
task-state-synced first "completed" by worker
task-state-synced last "running" by worker
write task-sentinel/tasks/last/progress 0.5
task-state-synced last "completed" by worker
4 keys, 8 writes merged, 0 conflicts
`,
	"batch": `one batch: 500 tasks, their number and their owner
refused: true, written: false
reader has 500 tasks, 500 created, batch-007 at 100 %
`,
}

func TestEveryExampleRunsAndPrintsWhatItShould(t *testing.T) {
	bin := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", bin+string(filepath.Separator), "./...").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	for _, name := range folders(t) {
		want, ok := outputs[name]
		if !ok {
			t.Errorf("examples/%s: the test does not know what it prints", name)
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			prints(t, want, filepath.Join(bin, name))
		})
		if !joins[name] {
			continue
		}
		t.Run(name+" in a running cluster", func(t *testing.T) {
			t.Parallel()
			host, err := agent.Open(t.Context(), agent.Config{Name: "host", Cluster: name})
			if err != nil {
				t.Fatal(err)
			}
			prints(t, want, filepath.Join(bin, name), "-join", host.Addr(), "-cluster", name)
			if len(host.Members()) < 3 {
				t.Errorf("it did not join: %+v", host.Members())
			}
			if err := host.Close(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
}

// joins are the examples that print the same in a running cluster.
var joins = map[string]bool{"workers": true, "agents": true, "resolver": true, "batch": true, "lock": true}

func prints(t *testing.T, want, program string, args ...string) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	got, err := cmd.Output()
	if err != nil || string(got) != want {
		t.Errorf("%v, printed\n%s\nwant\n%s\nand on stderr\n%s", err, got, want, stderr.Bytes())
	}
}

// The README shows code that compiles: agent's own example.
func TestTheReadmesExampleIsTheAgents(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("../agent/readme_test.go")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(readme), "```go\n")
	block, _, found := strings.Cut(rest, "```\n")
	if !found {
		t.Fatal("the README has no block of Go")
	}
	left := func(text string) string { // without indentation
		lines := strings.Split(text, "\n")
		for i := range lines {
			lines[i] = strings.TrimLeft(lines[i], "\t")
		}
		return strings.Join(lines, "\n")
	}
	if !strings.Contains(left(string(source)), left(block)) {
		t.Errorf("agent/readme_test.go does not hold the README's example:\n%s", block)
	}
}

func folders(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() && e.Name() != "testdata" {
			names = append(names, e.Name())
		}
	}
	if len(names) == 0 {
		t.Fatal("there are no examples")
	}
	return names
}
