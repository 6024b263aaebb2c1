// Package console is the standard streams of the commands: what they print cannot act on a
// terminal, and a failure to print is one of the command.
package console
