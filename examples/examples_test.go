package examples

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// outputs are what each example prints.
var outputs = map[string]string{
	"quickstart": `worker-2 sees tasks/42/state = {"by":"worker-1","status":"running"} by worker-1` + "\n",
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
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			cmd := exec.CommandContext(ctx, filepath.Join(bin, name))
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			got, err := cmd.Output()
			if err != nil || string(got) != want {
				t.Errorf("%v, printed\n%s\nwant\n%s\nand on stderr\n%s", err, got, want, stderr.Bytes())
			}
		})
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
