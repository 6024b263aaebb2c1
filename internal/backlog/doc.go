// Package backlog holds what waits for one reader: in order, bounded in number and
// size, and never short of something in silence. It is a value machine: the agent's
// subscriptions and the simulator's readers drive the same one.
package backlog
