package sim

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/sentinel-peer/sentinel-peer/lockservice"
)

// lockOp is an operation of a lock's history: a grant, or the end of a window.
type lockOp struct {
	grant  bool
	id     int
	shared bool
	token  uint64
}

// mutex is the state of a lock with fencing tokens. One client holds it, or several share it.
type mutex struct {
	holders     string // the numbers of the holders, in order; "" without a holder
	shared      bool
	token       uint64 // the highest given
	exclusively uint64
}

var mutexModel = porcupine.Model{
	Init: func() any { return mutex{} },
	Step: func(state, input, _ any) (bool, any) {
		m, op := state.(mutex), input.(lockOp)
		me := fmt.Sprintf("%d ", op.id)
		switch {
		case !op.grant:
			return m.drop(me)
		case m.holders != "" && !(m.shared && op.shared):
			return false, m
		case op.shared:
			return op.token > m.exclusively, mutex{m.holders + me, true, max(m.token, op.token), m.exclusively}
		}
		return op.token > m.token, mutex{me, false, op.token, op.token}
	},
	DescribeOperation: func(input, _ any) string { return fmt.Sprintf("%+v", input) },
}

// drop removes a holder.
func (m mutex) drop(who string) (bool, any) {
	for i := 0; i+len(who) <= len(m.holders); i++ {
		if m.holders[i:i+len(who)] == who && (i == 0 || m.holders[i-1] == ' ') {
			m.holders = m.holders[:i] + m.holders[i+len(who):]
			return true, m
		}
	}
	return false, m
}

// history turns the windows of a lock into operations. A grant lasts from the request until
// its holder hears of it. An end is the moment when the holder stops to hold the lock.
func history(l *lockLedger) (ops []porcupine.Operation) {
	for i, k := range l.over {
		op := lockOp{true, i + 1, k.Mode == lockservice.Shared, k.token}
		ops = append(ops, porcupine.Operation{ClientId: i, Input: op, Call: int64(k.asked), Return: int64(k.granted)})
		op.grant = false
		ops = append(ops, porcupine.Operation{ClientId: i, Input: op, Call: int64(k.until), Return: int64(k.until)})
	}
	return ops
}

// Porcupine knows nothing of leases and voters. It finds that the grants, in spite of all
// faults, are those of a mutex with rising tokens.
func TestHistoriesOfLocksAreThoseOfAMutex(t *testing.T) {
	const most = 5000
	locks, total := 0, 0
	for seed := uint64(0); locks < 60; seed++ {
		s := Draw(seed, Bounds{})
		if s.Config.Locks.Voters == 0 {
			continue
		}
		c := played(t, s)
		for name, l := range c.locks.ledgers {
			ops := history(l)
			if len(ops) > most {
				t.Fatalf("seed %d: %s has %d operations", seed, name, len(ops))
			}
			if total += len(ops); len(ops) > 4 {
				locks++
			}
			if c.met["a clock stood still, and two held one lock"] > 0 || !c.locks.ordered() {
				continue
			}
			if got := porcupine.CheckOperationsTimeout(mutexModel, ops, time.Minute); got != porcupine.Ok {
				t.Errorf("seed %d: the history of %s is %v", seed, name, got)
			}
			first := slices.IndexFunc(l.over, func(k *lockCall) bool { // a lease may end after one that was granted later
				return !slices.ContainsFunc(l.over, func(o *lockCall) bool { return o.granted < k.granted })
			})
			if len(ops) < 4 || l.over[first].Mode == lockservice.Shared {
				continue
			}
			end := &ops[2*first+1]
			end.Call, end.Return = 1<<60, 1<<60 // the first holder stays until after all the others
			if got := porcupine.CheckOperationsTimeout(mutexModel, ops, time.Minute); got != porcupine.Illegal {
				t.Errorf("seed %d: a lock %s held twice is %v", seed, name, got)
			}
		}
	}
	if total < 500 {
		t.Errorf("only %d operations", total)
	}
}

// played returns a cluster that has played s.
func played(t *testing.T, s Script) *Cluster {
	t.Helper()
	c, err := New(s.Config)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range s.Steps {
		do, err := steps{c}.compile(step.Do)
		if err != nil {
			t.Fatal(err)
		}
		c.agenda.add(step.At, do)
	}
	c.Run(s.Ends)
	c.Settle()
	return c
}
