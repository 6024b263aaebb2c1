// Package aside runs code of the embedding program where it can do no harm: one call after the
// other, on a goroutine of its own that holds no lock and for which nothing waits. Such code may
// block, and may call back into this program. ReadFile does the same with disks, which may hang.
package aside
