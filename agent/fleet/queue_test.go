package fleet

import (
	"fmt"
	"testing"

	"github.com/sentinel-peer/sentinel-peer/crdt"
)

// What keeps its place in a list is not written again.
func TestOnlyWhatMovesIsWritten(t *testing.T) {
	var was []place
	var tasks []string
	for i := range 40 {
		v, err := crdt.ValueOf([]any{(i + 1) * orderStep, fmt.Sprint("t", i)})
		if err != nil {
			t.Fatal(err)
		}
		was = append(was, placeOf(v))
		tasks = append(tasks, was[i].task)
	}
	ops, err := reorder(pendingField, was, was, append(tasks, "last"), 1<<52)
	if err != nil || len(ops) != 1 || len(ops[0].Values) != 1 || ops[0].Verb != crdt.Add {
		t.Errorf("one more among %d takes %v (%v)", len(was), ops, err)
	}
	// What another peer's clock put ahead of this one's is not overtaken.
	ops, err = reorder(pendingField, nil, []place{{order: 100, task: "ahead"}}, []string{"mine"}, 7)
	if err != nil || len(ops) != 1 || placeOf(ops[0].Values[0]).order <= 100 {
		t.Errorf("behind a task of a later time: %v (%v)", ops, err)
	}
	moved := append([]string{tasks[len(tasks)-2]}, append(tasks[:len(tasks)-2:len(tasks)-2], tasks[len(tasks)-1])...)
	ops, err = reorder(pendingField, was, was, moved, 1<<52)
	if err != nil || len(ops) != 2 || len(ops[0].Values) != 1 || len(ops[1].Values) != 1 {
		t.Errorf("one move takes %v (%v)", ops, err)
	}
}
