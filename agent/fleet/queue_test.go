package fleet

import (
	"fmt"
	"testing"

	"github.com/sentinel-peer/sentinel-peer/crdt"
)

// A task that keeps its position in a list is not written again.
func TestOnlyWhatMovesIsWritten(t *testing.T) {
	var before []element
	var tasks []string
	for i := range 40 {
		v, err := crdt.ValueOf([]any{(i + 1) * orderStep, fmt.Sprint("t", i)})
		if err != nil {
			t.Fatal(err)
		}
		before = append(before, elementOf(v))
		tasks = append(tasks, before[i].task)
	}
	ops, err := reorder(pendingField, before, before, append(tasks, "last"), 1<<52)
	if err != nil || len(ops) != 1 || len(ops[0].Values) != 1 || ops[0].Verb != crdt.Add {
		t.Errorf("one more among %d takes %v (%v)", len(before), ops, err)
	}
	// A task goes behind one whose order is ahead of this peer's clock.
	ops, err = reorder(pendingField, nil, []element{{order: 100, task: "ahead"}}, []string{"mine"}, 7)
	if err != nil || len(ops) != 1 || elementOf(ops[0].Values[0]).order <= 100 {
		t.Errorf("behind a task of a later time: %v (%v)", ops, err)
	}
	moved := append([]string{tasks[len(tasks)-2]}, append(tasks[:len(tasks)-2:len(tasks)-2], tasks[len(tasks)-1])...)
	ops, err = reorder(pendingField, before, before, moved, 1<<52)
	if err != nil || len(ops) != 2 || len(ops[0].Values) != 1 || len(ops[1].Values) != 1 {
		t.Errorf("one move takes %v (%v)", ops, err)
	}
}
