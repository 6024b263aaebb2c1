// Package modelfs is a model of a file system for tests of package journal: a folder in memory that
// loses what was not synced when the power fails.
//
// It assumes the least that file systems promise. Each page of 4 KiB that was written and not synced
// survives a loss of power or not, whatever becomes of the others. So does each change of a name
// that was not synced, and the size of a file. A sync that fails leaves pages that look clean: they
// are read as they were written until the power fails or the system drops them, and no later sync
// writes them. The end of a process loses nothing that the system has.
package modelfs
