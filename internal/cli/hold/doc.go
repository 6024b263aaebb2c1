// Package hold is the commands that run another program for as long as a daemon holds a lock or
// an item of a queue for it. They end the program when the lock or item is lost.
package hold
