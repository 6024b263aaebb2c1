// Package command is what all commands have in common: exit codes, and the reading of
// arguments, values and settings.
package command
