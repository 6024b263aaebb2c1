// Package examples holds whole programs, one a folder. Its test builds and runs
// each, so that what they show stays true.
//
//	go run ./examples/quickstart
package examples
