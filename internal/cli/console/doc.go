// Package console is the standard streams of the commands. What the commands print cannot
// control a terminal, and a command whose output cannot be written fails.
package console
