// Package hostmem returns how much memory this process may use: the limit of its control groups, of
// version 1 or 2, and the memory of the machine. It knows them on Linux only.
package hostmem
