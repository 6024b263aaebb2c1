// Package backlog queues events for one reader, in order, and bounds their number and their
// size in bytes. A reader for which events were given up is always told. The queue is a value
// machine without a lock, a clock or a goroutine: the subscriptions of package agent and the
// readers of the simulator drive the same one.
package backlog
