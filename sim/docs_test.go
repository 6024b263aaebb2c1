package sim

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestTheDocsNameWhatThereIs checks that the tests and scenarios that docs/incidents.md
// names exist.
func TestTheDocsNameWhatThereIs(t *testing.T) {
	text, err := os.ReadFile("../docs/incidents.md")
	if err != nil {
		t.Fatal(err)
	}
	var tests strings.Builder
	err = filepath.WalkDir("..", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		b, err := os.ReadFile(path)
		tests.Write(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile(`\bTest[A-Z]\w+`).FindAllString(string(text), -1)
	if len(named) < 20 {
		t.Errorf("only %v", named)
	}
	for _, name := range named {
		if !strings.Contains(tests.String(), "func "+name+"(") {
			t.Errorf("no test %s", name)
		}
	}
	for _, line := range strings.Split(string(text), "\n") {
		if at := strings.Index(line, "scenario"); strings.HasPrefix(line, "| ") && at > 0 {
			for _, name := range regexp.MustCompile("scenarios? `([a-z-]+)`(?:, `([a-z-]+)`)?").FindStringSubmatch(line[at:])[1:] {
				if name != "" && !slices.Contains(Scenarios(), name) {
					t.Errorf("no scenario %s", name)
				}
			}
		}
	}
}
