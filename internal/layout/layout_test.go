package layout

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/sentinel-peer/sentinel-peer/"

// floors are the floors of the packages. A package imports only from lower floors.
var floors = map[string]int{
	"internal/ordered":         0,
	"internal/wire":            0,
	"internal/backlog":         0,
	"internal/hostmem":         0,
	"internal/aside":           0,
	"internal/envelope":        0,
	"internal/journal":         0,
	"internal/journal/modelfs": 1,
	"clock":                    1,
	"crdt":                     2,
	"crdt/crdttest":            3,
	"gossip":                   3,
	"internal/keyspace":        3,
	"lockservice":              3,
	"lockservice/fence":        0,
	"internal/replica":         4,
	"internal/queue":           4,
	"sim":                      5, // below the agent: it imports only the core
	"gossip/transport":         4,
	"gossip/transport/memnet":  4,
	"internal/memory":          5,
	"agent/workqueue":          6,
	"agent/fleet":              6,
	"agent":                    7,
	"internal/verdict":         8,
	"internal/api":             9,
	"internal/httpapi":         10, // renders internal/api
	"internal/httpapi/openapi": 10, // prints what internal/api describes
	"internal/dashboard":       10, // likewise
	"internal/mcpserver":       10, // renders internal/api
	"internal/mcpbridge":       10,
	"internal/metrics":         11,
	"internal/layout":          0,
	"internal/mutants":         0,
	"internal/notices":         0,
	"internal/cli/console":     1,
	"internal/cli/command":     10,
	"internal/cli/client":      11,
	"internal/cli/simulate":    11,
	"internal/cli/status":      12,
	"internal/cli/daemon":      12,
	"internal/cli/hold":        13,
	"internal/cli/local":       13,
	"internal/cli/data":        14,
	"internal/cli/demo":        14,
	"internal/cli":             15,
	"cmd/sentinel-peer":        16,
	"internal/tests/fence":     0,
	"internal/tests/fleet":     0, // its tests may import any package
	"examples":                 12,
}

// commands are the packages of the command line.
var commands = []string{"internal/cli", "internal/cli/command", "internal/cli/client", "internal/cli/status", "internal/cli/hold", "internal/cli/data", "internal/cli/daemon", "internal/cli/simulate", "internal/cli/demo"}

// homes are the packages that may import a third-party package.
var homes = map[string][]string{
	"github.com/vmihailenco/msgpack/v5":      {"internal/wire"},
	"github.com/hashicorp/memberlist":        {"gossip/transport", "gossip/transport/memnet"},
	"github.com/flynn/noise":                 {"gossip/transport"},
	"github.com/klauspost/compress":          {"gossip", "internal/journal"},
	"github.com/tidwall/btree":               {"internal/ordered"},
	"github.com/cespare/xxhash/v2":           {"crdt"},
	"github.com/bmatcuk/doublestar/v4":       {"crdt"},
	"github.com/hashicorp/golang-lru/v2":     {"internal/memory"},
	"github.com/prometheus/client_golang":    {"internal/metrics"},
	"github.com/modelcontextprotocol/go-sdk": {"internal/mcpserver"},
	"github.com/spf13/cobra":                 commands,
	"github.com/spf13/pflag":                 {"internal/cli/command", "internal/cli/daemon"},
	"charm.land/bubbletea/v2":                {"internal/cli/status"},
	"github.com/charmbracelet/x/ansi":        {"internal/cli/status"},
	"github.com/charmbracelet/x/term":        {"internal/cli/console", "internal/cli/status"},
	"go.yaml.in/yaml/v3":                     {"internal/cli/command"},
	"golang.org/x/crypto":                    {"gossip/transport"},
	"golang.org/x/sys":                       {"gossip/transport", "lockservice", "lockservice/fence", "internal/cli/hold", "internal/journal"},
	"golang.org/x/time":                      {"gossip/transport", "internal/httpapi"},
	"pgregory.net/rapid":                     {"crdt/crdttest"},
}

// The pure packages decide and have no effects: they may not import the worldly packages.
var (
	pure = []string{"internal/wire", "internal/backlog", "internal/envelope", "clock", "crdt", "gossip", "lockservice", "internal/replica", "internal/queue", "internal/keyspace", "internal/verdict", "sim"}
	// shells are the files of pure packages that may have effects.
	shells = []string{"lockservice/session.go", "lockservice/lease.go", "lockservice/line.go", "lockservice/lock.go", "lockservice/semaphore.go",
		"lockservice/campaign.go", "lockservice/several.go", "lockservice/resume.go", "lockservice/each.go", "lockservice/clock.go", "lockservice/clock_linux.go",
		"lockservice/clock_other.go", "lockservice/statefile.go", "lockservice/majority.go"}
	worldly = []string{"sync", "net", "net/http", "os", "os/exec", "syscall", "runtime", "math/rand", "crypto/rand", "log", "log/slog", "context"}
	// atoms are the files that may use sync/atomic, to publish data to lock-free readers.
	atoms = []string{"crdt/store.go", "crdt/history.go", "crdt/cell.go", "crdt/table.go", "crdt/record.go"}
	// clocks are the functions of package time that a pure package may not use.
	clocks = []string{"Now", "Since", "Until", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick", "Sleep"}
	// seeded are the names of math/rand/v2 that a pure package may use. All others draw from
	// the source of the process.
	seeded = []string{"New", "NewPCG", "NewChaCha8", "ChaCha8", "Rand", "PCG", "Source", "NewZipf", "Zipf"}
)

func TestEveryPackageStandsOnItsFloor(t *testing.T) {
	seen := map[string]bool{} // by package: whether it has a doc comment
	walk(t, false, func(pkg, file string, _ *token.FileSet, f *ast.File) {
		floor, known := floorOf(pkg)
		if !known {
			t.Errorf("%s: package %s has no floor in this test's table", file, pkg)
			return
		}
		seen[pkg] = seen[pkg] || f.Doc != nil
		for _, spec := range f.Imports {
			name, _ := strconv.Unquote(spec.Path.Value)
			if rest, ours := strings.CutPrefix(name, module); ours {
				if other, known := floorOf(rest); !known || other >= floor && !strings.HasPrefix(pkg, "examples/") {
					t.Errorf("%s: %s (floor %d) imports %s (floor %d); only lower floors may be imported", file, pkg, floor, rest, other)
				}
				continue
			}
			if home, ok := homeOf(name); !ok {
				t.Errorf("%s: %s is a third-party package without a home in this test's table", file, name)
			} else if home != nil && !slices.Contains(home, pkg) {
				t.Errorf("%s: %s lives in %v", file, name, home)
			}
			if slices.Contains(pure, pkg) && !slices.Contains(shells, file) && slices.Contains(worldly, name) {
				t.Errorf("%s: %s touches the world by %s", file, pkg, name)
			}
			if slices.Contains(pure, pkg) && name == "sync/atomic" && !slices.Contains(atoms, file) && !slices.Contains(shells, file) {
				t.Errorf("%s: atomics belong into %v", file, atoms)
			}
		}
		if slices.Contains(pure, pkg) && !slices.Contains(shells, file) {
			inspect(t, file, f)
		}
	})
	for pkg, doc := range seen {
		if !doc {
			t.Errorf("package %s does not say what it is", pkg)
		}
	}
	if len(seen) < 8 {
		t.Errorf("only %d packages found: is this the module's root?", len(seen))
	}
}

func floorOf(pkg string) (int, bool) {
	if strings.HasPrefix(pkg, "examples/") {
		pkg = "examples"
	}
	n, ok := floors[pkg]
	return n, ok
}

// homeOf returns the packages that may import a package, or nil if all may. The result ok is
// false for a third-party package without a home.
func homeOf(name string) ([]string, bool) {
	if !strings.Contains(strings.SplitN(name, "/", 2)[0], ".") {
		return nil, true // the standard library
	}
	for p := name; p != "." && p != "/"; p = path.Dir(p) {
		if home, ok := homes[p]; ok {
			return home, true
		}
	}
	return nil, false
}

// inspect reports goroutines, clocks and the randomness of the process in a file.
func inspect(t *testing.T, file string, f *ast.File) {
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			t.Errorf("%s: a go statement in the core", file)
		case *ast.SelectStmt:
			t.Errorf("%s: a select statement in the core", file)
		case *ast.SelectorExpr:
			x, ok := n.X.(*ast.Ident)
			if !ok || x.Obj != nil {
				return true
			}
			if x.Name == "time" && slices.Contains(clocks, n.Sel.Name) {
				t.Errorf("%s: time.%s in the core; time is an argument", file, n.Sel.Name)
			}
			if x.Name == "rand" && !slices.Contains(seeded, n.Sel.Name) {
				t.Errorf("%s: rand.%s in the core; randomness comes from a seed", file, n.Sel.Name)
			}
		}
		return true
	})
}

// walk calls f for each source file of the module, and for test files too if tests is set.
func walk(t *testing.T, tests bool, f func(pkg, file string, fset *token.FileSet, syntax *ast.File)) {
	root := filepath.Join("..", "..")
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, p)
		rel = filepath.ToSlash(rel)
		if d.IsDir() {
			if rel == "bench" || rel == "bin" || d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".") && rel != "." {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(rel, ".go") || strings.HasSuffix(rel, "_test.go") && !tests {
			return nil
		}
		fset := token.NewFileSet()
		syntax, err := parser.ParseFile(fset, p, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		f(path.Dir(rel), rel, fset, syntax)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Only package internal/keyspace has the root of all shared keys.
func TestTheKeySpaceHasOneHome(t *testing.T) {
	walk(t, false, func(pkg, file string, _ *token.FileSet, f *ast.File) {
		ast.Inspect(f, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && strings.HasPrefix(lit.Value, `"task-sentinel`) && pkg != "internal/keyspace" {
				t.Errorf("%s writes %s; the keys are in internal/keyspace", file, lit.Value)
			}
			return true
		})
	})
}

// The table of floors in docs/architecture.md is equal to floors.
func TestTheDocsShowTheFloors(t *testing.T) {
	b, err := os.ReadFile("../../docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	shown := map[string]int{}
	for _, row := range regexp.MustCompile(`(?m)^\| (\d+) \| ([^|]+) \|`).FindAllStringSubmatch(string(b), -1) {
		floor, _ := strconv.Atoi(row[1])
		for _, pkg := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(row[2], -1) {
			if _, twice := shown[pkg[1]]; twice {
				t.Errorf("%s stands twice in the table", pkg[1])
			}
			shown[pkg[1]] = floor
		}
	}
	for pkg, floor := range floors {
		if got, ok := shown[pkg]; !ok || got != floor {
			t.Errorf("%s is on floor %d; the table says %d (stands there: %t)", pkg, floor, got, ok)
		}
		delete(shown, pkg)
	}
	for pkg := range shown {
		t.Errorf("%s stands in the table and on no floor", pkg)
	}
}
