// Package command is what all commands have in common: exit codes, and how arguments, values
// and settings are read.
package command
