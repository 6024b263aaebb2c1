package agent

import (
	"reflect"
	"testing"

	"github.com/sentinel-peer/sentinel-peer/agent/fleet"
	"github.com/sentinel-peer/sentinel-peer/agent/workqueue"
	"github.com/sentinel-peer/sentinel-peer/crdt"
)

// A value that a call returns beside false or an error is the zero value, and no method of it panics.
func TestZeroResultsHaveMethodsThatReturn(t *testing.T) {
	for _, zero := range []any{
		crdt.Entry{}, crdt.Value{}, crdt.Change{}, crdt.Delta{}, crdt.Conflict{}, crdt.Side{}, crdt.Sibling{}, crdt.Candidate{}, crdt.Resolution{},
		crdt.ActorTable{}, crdt.SectionResult{}, crdt.Op{}, crdt.Rule{}, crdt.Pattern{}, crdt.Stats{}, crdt.Kind(0), crdt.Verb(0), crdt.Cause(0), crdt.Version(0),
		crdt.FullError{}, crdt.TypeError{}, crdt.OpError{}, crdt.ConflictError{}, crdt.KeyError{}, crdt.PanicError{},
		Event{}, Cursor{}, LifecycleEvent{}, EventType(""), Cause(""), Member{}, Packets{}, Stats{}, fleet.TaskState{}, fleet.TaskProgress{}, fleet.TaskHolder{}, fleet.TaskAgent{}, fleet.AgentInfo{},
		fleet.Worker{}, fleet.WorkerState(""), fleet.WorkerStatus{}, fleet.QueueState{}, workqueue.Depth{}, workqueue.Stats{}, workqueue.Item{}, workqueue.State(""), workqueue.NewItem{}, fleet.Unfinished{}, fleet.Abandoned{}, ReplicationError{},
	} {
		v := reflect.New(reflect.TypeOf(zero)) // a pointer also has the methods of the value
		for i := range v.NumMethod() {
			name := v.Elem().Type().String() + "." + v.Type().Method(i).Name
			func() {
				defer func() {
					if r := recover(); r != nil {
						t.Errorf("%s: %v", name, r)
					}
				}()
				m := v.Method(i)
				args := make([]reflect.Value, m.Type().NumIn())
				for j := range args {
					args[j] = reflect.Zero(m.Type().In(j))
				}
				if m.Type().IsVariadic() {
					m.CallSlice(args)
				} else {
					m.Call(args)
				}
			}()
		}
	}
	if e := (crdt.Entry{}); e.Kind() != 0 || e.Version() != 0 || !e.Value().IsZero() || e.Siblings() != nil || !e.Same(crdt.Entry{}) {
		t.Errorf("the entry of a missing key says %v %v %v", e.Kind(), e.Version(), e.Value())
	}
}
