package mcpserver

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The operations of internal/api check rights; only streams check theirs themselves.
func TestNoToolChecksRightsByItself(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	streams := []string{"watch.go", "feed.go"}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") || slices.Contains(streams, name) {
			continue
		}
		source, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if found := regexp.MustCompile(`api\.Right\{|rant\.(Check|CheckMatch|May\w+|Allows)\(`).Find(source); found != nil {
			t.Errorf("%s has %s: call an operation", name, found)
		}
	}
}
