// Package mutants tests the tests. Each mutant breaks one rule of the core on purpose, and a
// test must fail. The title of a mutant is the rule that it breaks. The code that ships has
// no switches for this: an overlay gives the compiler a changed copy of one file.
//
//	go test ./internal/mutants -mutants
package mutants
