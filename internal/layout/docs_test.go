package layout

import (
	"fmt"
	"go/ast"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// The targets of make and the commands that the documents name exist.
func TestDocumentsNameTargetsAndPackagesThatExist(t *testing.T) {
	makefile, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	code := regexp.MustCompile("(?s)```.*?```|`[^`\n]+`")
	called := regexp.MustCompile("(?m)(?:^ *|`|&& *|: )(make|go install) +([a-z][^ `\n]*)")
	seen := map[string]int{}
	for _, file := range documents(t) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range called.FindAllStringSubmatch(strings.Join(code.FindAllString(string(text), -1), "\n"), -1) {
			seen[m[1]]++
			switch what := m[2]; m[1] {
			case "make":
				if !regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(what) + `:`).Match(makefile) {
					t.Errorf("%s: the Makefile has no target %q", file, what)
				}
			case "go install":
				dir, ours := strings.CutPrefix(strings.TrimSuffix(what, "@latest"), module)
				if _, err := os.Stat(filepath.Join("../..", dir, "main.go")); ours && err != nil {
					t.Errorf("%s: %s: %v", file, what, err)
				}
			}
		}
	}
	if seen["make"] < 6 || seen["go install"] < 1 {
		t.Errorf("read only %v", seen)
	}
}

// documents returns the paths of all Markdown files.
func documents(t *testing.T) (files []string) {
	for _, pattern := range []string{"*.md", "*/*.md", "docs/*/*.md"} {
		list, err := filepath.Glob("../../" + pattern)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, list...)
	}
	return files
}

// Comments cite only tests that exist.
func TestTestsThatAreCitedExist(t *testing.T) {
	there, cited := make(map[string]bool), make(map[string]string)
	name := regexp.MustCompile(`\(Test[A-Z]\w+`)
	walk(t, true, func(_, file string, _ *token.FileSet, syntax *ast.File) {
		for _, d := range syntax.Decls {
			if f, ok := d.(*ast.FuncDecl); ok {
				there[f.Name.Name] = true
			}
		}
		for _, group := range syntax.Comments {
			for _, n := range name.FindAllString(group.Text(), -1) { // only citations in brackets: examples name tests of their own
				cited[n[1:]] = file
			}
		}
	})
	if len(cited) == 0 {
		t.Fatal("no comment cites a test")
	}
	for n, file := range cited {
		if !there[n] {
			t.Errorf("%s cites %s, which does not exist", file, n)
		}
	}
}

// The files that these documents name exist.
func TestTheArchitectureNamesFilesThatExist(t *testing.T) {
	named := regexp.MustCompile(`\b(?:agent|clock|crdt|gossip|lockservice|internal|sim)/[\w/]+(?:\.go)?\b`)
	for document, least := range map[string]int{"architecture.md": 50, "decisions/0034-what-is-written-by-hand.md": 15} {
		text, err := os.ReadFile(filepath.Join("..", "..", "docs", filepath.FromSlash(document)))
		if err != nil {
			t.Fatal(err)
		}
		files := named.FindAllString(string(text), -1)
		if len(files) < least {
			t.Errorf("%s names %d files", document, len(files))
		}
		for _, file := range files {
			if _, err := os.Stat(filepath.Join("..", "..", filepath.FromSlash(file))); err != nil {
				t.Errorf("%s: %v", document, err)
			}
		}
	}
}

func TestDecisionsHaveNumbersOfTheirOwn(t *testing.T) {
	files, err := filepath.Glob(filepath.FromSlash("../../docs/decisions/*.md"))
	if err != nil || len(files) == 0 {
		t.Fatal(len(files), err)
	}
	for i, file := range files { // in the order of their numbers
		number, _, _ := strings.Cut(filepath.Base(file), "-")
		if n, err := strconv.Atoi(number); err != nil || n != i+1 {
			t.Errorf("%s should have the number %d", file, i+1)
		}
		if b, err := os.ReadFile(file); err != nil || !strings.HasPrefix(string(b), fmt.Sprintf("# %d. ", i+1)) {
			t.Errorf("the title of %s does not begin with its number: %v", file, err)
		}
	}
}
