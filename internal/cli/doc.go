// Package cli is the command line of sentinel-peer: the daemon, and the commands that
// talk to it. Data goes to standard output, everything else to standard error.
package cli
