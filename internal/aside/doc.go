// Package aside runs code of the embedding program where it can harm nobody: one call
// after the other, on a goroutine of its own that holds no lock and that nothing waits
// for. Such code may block, and may call back whatever handed it over. ReadFile treats
// disks likewise.
package aside
