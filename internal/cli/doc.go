// Package cli is the command line of sentinel-peer. The packages below it are the commands
// by subject; this one is their root, and those about the program itself. Data goes to
// standard output, everything else to standard error.
package cli
