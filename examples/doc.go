// Package examples holds complete programs, one in each folder. Its test builds and runs each of
// them, so that they stay correct.
//
//	go run ./examples/quickstart
package examples
