// Package mutants proves the proof: each mutant breaks one rule of the core on
// purpose, and the tests of the core must notice. Nothing is switched in the code
// that ships; the compiler is given another file in place of one.
//
//	go test ./internal/mutants -mutants
package mutants
