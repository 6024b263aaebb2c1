// Package cli is the command line of sentinel-peer. The packages below it hold the commands,
// by subject. This package holds the root command and the commands about the program itself.
// Data goes to standard output, everything else to standard error.
package cli
