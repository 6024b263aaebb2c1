package layout

import (
	"go/ast"
	"go/token"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// A program that embeds an agent does not depend on packages that only the command needs.
func TestTheAgentNeedsNoCommand(t *testing.T) {
	list := exec.Command("go", "list", "-deps", "./agent")
	list.Dir = "../.."
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	deps := strings.Fields(string(out))
	if len(deps) < 100 {
		t.Fatalf("only %d packages", len(deps))
	}
	for _, dep := range deps {
		for _, not := range []string{
			module + "internal/cli", module + "internal/dashboard", module + "internal/mcp", module + "internal/httpapi", module + "internal/metrics",
			"github.com/modelcontextprotocol/", "github.com/spf13/", "charm.land/", "github.com/charmbracelet/", "github.com/prometheus/", "go.yaml.in/",
		} {
			if strings.HasPrefix(dep, not) {
				t.Errorf("agent needs %s", dep)
			}
		}
	}
}

// Packages that users build import every requirement of go.mod. A requirement that only
// tests import has a comment in go.mod, which says why it has no module of its own.
func TestEachRequirementIsNeeded(t *testing.T) {
	text, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	imported := map[string]bool{} // by what users build
	walk(t, false, func(_, _ string, _ *token.FileSet, f *ast.File) {
		for _, spec := range f.Imports {
			name, _ := strconv.Unquote(spec.Path.Value)
			imported[name] = true
		}
	})
	direct := regexp.MustCompile(`(?m)^\t(\S+) v\S+(?: // (.*))?$`)
	seen := 0
	for _, m := range direct.FindAllStringSubmatch(string(text), -1) {
		path, why := m[1], m[2]
		if why == "indirect" {
			continue
		}
		seen++
		needed := false
		for name := range imported {
			needed = needed || name == path || strings.HasPrefix(name, path+"/")
		}
		if needed != (why == "") {
			t.Errorf("go.mod: %s: needed by what users build: %t; why it is there all the same: %q", path, needed, why)
		}
	}
	if seen < 15 {
		t.Errorf("read only %d requirements", seen)
	}
}
