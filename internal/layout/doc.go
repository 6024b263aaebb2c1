// Package layout holds the house in shape: its test fails when a package imports
// from its own floor or above, when a third-party package leaves its home, when the
// core touches the world, or when a package does not say what it is.
package layout
