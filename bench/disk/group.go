package main

import "sync"

// group lets callers that wait at the same time share a commit.
type group struct {
	store store
	turn  sync.Mutex // held by whoever commits; before mu
	mu    sync.Mutex
	next  *commit
}

// commit is one put for several callers.
type commit struct {
	records []record
	done    chan struct{} // closed once err is set
	err     error
}

func newCommit() *commit { return &commit{done: make(chan struct{})} }

// put returns once the record is durable. The first caller of a commit puts the records of all.
func (g *group) put(r record) error {
	g.mu.Lock()
	c := g.next
	first := len(c.records) == 0
	c.records = append(c.records, r)
	g.mu.Unlock()
	if !first {
		<-c.done
		return c.err
	}
	g.turn.Lock()
	defer g.turn.Unlock()
	g.mu.Lock()
	g.next = newCommit()
	g.mu.Unlock()
	c.err = g.store.put(c.records)
	close(c.done)
	return c.err
}
