package layout

import (
	"cmp"
	"go/ast"
	"go/token"
	"maps"
	"slices"
	"strings"
	"testing"
)

// The limits of one type, file or function.
const (
	maxMethods      = 45 // with those that are not exported
	maxFields       = 30
	maxFileLines    = 499
	maxTestLines    = 499 // of a file of tests
	maxFuncLines    = 92  // but for tests
	ninthFuncLines  = 27  // nine of ten functions have no more
	printedExamples = 12  // of the largest of each
)

// exceptions are the counts that exceed a limit. An exception may only shrink. The test fails
// if a count differs from its entry, so that the entry follows until it can be removed.
var exceptions = map[string]int{
	"methods of agent.Agent": 59,
}

// sizes are the counts of the module, by name.
type sizes struct {
	methods, fields, files, tests, funcs map[string]int
}

// measure counts the methods, fields and lines of all files.
func measure(t *testing.T) sizes {
	s := sizes{map[string]int{}, map[string]int{}, map[string]int{}, map[string]int{}, map[string]int{}}
	walk(t, true, func(pkg, file string, fset *token.FileSet, f *ast.File) {
		lines := fset.File(f.Pos()).LineCount() - 1
		if strings.HasSuffix(file, "_test.go") {
			s.tests["lines of "+file] = lines
			return
		}
		s.files["lines of "+file] = lines
		for _, d := range f.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				name := d.Name.Name
				if owner := receiver(d); owner != "" {
					s.methods["methods of "+pkg+"."+owner]++
					name = owner + "." + name
				}
				s.funcs["lines of "+pkg+"."+name] = fset.Position(d.End()).Line - fset.Position(d.Pos()).Line + 1
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					if spec, ok := spec.(*ast.TypeSpec); ok {
						if body, ok := spec.Type.(*ast.StructType); ok {
							s.fields["fields of "+pkg+"."+spec.Name.Name] = body.Fields.NumFields()
						}
					}
				}
			}
		}
	})
	return s
}

// receiver returns the type that a method belongs to, "" for a function.
func receiver(d *ast.FuncDecl) string {
	if d.Recv == nil {
		return ""
	}
	x := d.Recv.List[0].Type
	for {
		switch of := x.(type) {
		case *ast.StarExpr:
			x = of.X
		case *ast.IndexExpr:
			x = of.X
		case *ast.IndexListExpr:
			x = of.X
		case *ast.Ident:
			return of.Name
		default:
			return ""
		}
	}
}

// largest returns the names of counts, the greatest count first.
func largest(counts map[string]int) []string {
	return slices.SortedFunc(maps.Keys(counts), func(x, y string) int {
		return cmp.Or(cmp.Compare(counts[y], counts[x]), cmp.Compare(x, y))
	})
}

// Types, files and functions stay of a size that can be read. With -v the test prints the
// largest of each.
func TestNothingOutgrowsItsReader(t *testing.T) {
	s := measure(t)
	met := map[string]bool{}
	for _, of := range []struct {
		counts map[string]int
		limit  int
	}{{s.methods, maxMethods}, {s.fields, maxFields}, {s.files, maxFileLines}, {s.tests, maxTestLines}, {s.funcs, maxFuncLines}} {
		for i, name := range largest(of.counts) {
			n := of.counts[name]
			if i < printedExamples && testing.Verbose() {
				t.Logf("%4d %s", n, name)
			}
			allowed, excepted := exceptions[name]
			switch met[name] = excepted; {
			case !excepted && n > of.limit:
				t.Errorf("%d %s; at most %d are allowed", n, name, of.limit)
			case excepted && n > allowed:
				t.Errorf("%d %s; it had %d, and may only shrink to %d", n, name, allowed, of.limit)
			case excepted && n <= of.limit:
				t.Errorf("%d %s; take its entry out of the exceptions", n, name)
			case excepted && n < allowed:
				t.Errorf("%d %s; lower its entry in the exceptions, which says %d", n, name, allowed)
			}
		}
	}
	for name := range exceptions {
		if !met[name] {
			t.Errorf("%q is excepted and not there", name)
		}
	}
	lengths := slices.Sorted(maps.Values(s.funcs))
	if len(lengths) < 1000 {
		t.Fatalf("read only %d functions", len(lengths))
	}
	ninth := lengths[len(lengths)*9/10]
	t.Logf("%d functions: nine of ten have up to %d lines, half of them up to %d", len(lengths), ninth, lengths[len(lengths)/2])
	if ninth > ninthFuncLines {
		t.Errorf("one of ten functions has more than %d lines; at most %d are allowed", ninth, ninthFuncLines)
	}
}
