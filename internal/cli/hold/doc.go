// Package hold is the commands that run another program for as long as a daemon holds a lock
// or an item of a queue for them, and end it when that is lost.
package hold
