// Package layout tests the structure of the module. Its tests fail if a package imports
// from its own floor or a higher one, if a third-party package is imported outside its home,
// if the core uses clocks, goroutines or the operating system, or if a package has no doc
// comment.
package layout
