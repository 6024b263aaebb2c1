package agent

import (
	"context"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/lockservice"
)

// After Close every call with an error result returns ErrClosed. A call without one returns the last
// state.
func TestEveryCallIsRefusedAfterClose(t *testing.T) {
	a := open(t, Config{Name: "n1", Faults: true})
	if err := errors.Join(a.Put(t.Context(), "k", 1), a.Set("s").Add(t.Context(), "x"), a.Put(t.Context(), "expires", 1, WithTTL(time.Hour))); err != nil {
		t.Fatal(err)
	}
	if _, err := a.WorkQueue("q").Enqueue(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	claim, err := a.WorkQueue("q").Claim(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	handles := map[string]any{"": a, "Cache": a.Cache(), "Set": a.Set("s"), "Object": a.Object("o"), "Counter": a.Counter("c"), "Max": a.Max("m"),
		"Tasks": a.Tasks(), "Agents": a.Agents(), "Workers": a.Workers(), "Queue": a.Queue(), "workqueue.Queue": a.WorkQueue("q"),
		"workqueue.Claim": claim, "Locks": a.Locks()}
	if err := a.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	exempt := map[string]bool{
		"Close": true, "Locks.Close": true, // a second Close is allowed
		"Cache.Invalidate": true, "Resolve": true, // these need only what the caller has
		"workqueue.Claim.Release": true, "workqueue.Claim.Extend": true, "workqueue.Claim.Complete": true, "workqueue.Claim.Fail": true, // Close has ended the claim, so these return workqueue.ErrClaimLost
		"Locks.Reload": true, "Locks.Semaphore": true, // these ask no peer
	}
	for of, handle := range handles {
		v := reflect.ValueOf(handle)
		for i := range v.NumMethod() {
			name := v.Type().Method(i).Name
			if of != "" {
				name = of + "." + name
			}
			if exempt[name] {
				continue
			}
			out := call(t, name, v.Method(i))
			if len(out) == 0 || out[len(out)-1].Type() != reflect.TypeFor[error]() {
				continue
			}
			if err, _ := out[len(out)-1].Interface().(error); !errors.Is(err, ErrClosed) && !errors.Is(err, lockservice.ErrClosed) {
				t.Errorf("%s: %v, want ErrClosed", name, err)
			}
		}
	}
	if _, err := GetAs[int](a, "k"); !errors.Is(err, ErrClosed) {
		t.Errorf("GetAs: %v", err)
	}
	if v, ok := a.Get("k"); !ok || v.String() != "1" {
		t.Errorf("Get: %v, %v", v, ok)
	}
	if e, ok := a.Entry("s"); !ok || e.Kind() != crdt.Set {
		t.Errorf("Entry: %v, %v", e, ok)
	}
	if len(a.Members()) != 1 || len(a.Vector("k")) != 1 || len(a.Alternatives("k")) != 0 || a.Stats().Store.Keys == 0 {
		t.Error("what was known is not told any more")
	}
}

// call calls f with valid arguments.
func call(t *testing.T, name string, f reflect.Value) []reflect.Value {
	t.Helper()
	in := make([]reflect.Value, 0, f.Type().NumIn())
	for i := range f.Type().NumIn() {
		if f.Type().IsVariadic() && i == f.Type().NumIn()-1 {
			switch elem := f.Type().In(i).Elem(); elem.Kind() {
			case reflect.String, reflect.Interface:
				in = append(in, reflect.ValueOf("x").Convert(elem))
			}
			continue
		}
		in = append(in, argument(f.Type().In(i)))
	}
	defer func() {
		if p := recover(); p != nil {
			t.Errorf("%s panics: %v", name, p)
		}
	}()
	return f.Call(in)
}

func argument(of reflect.Type) reflect.Value {
	v := reflect.New(of).Elem()
	switch of.Kind() {
	case reflect.Interface:
		if of == reflect.TypeFor[context.Context]() {
			return reflect.ValueOf(context.Background())
		}
		if of == reflect.TypeFor[error]() {
			return reflect.ValueOf(errors.New("why"))
		}
		v.Set(reflect.ValueOf(map[string]any{"a": 1}))
	case reflect.String:
		v.SetString("x")
	case reflect.Int, reflect.Int64:
		v.SetInt(1)
	case reflect.Slice:
		if of.Elem().Kind() == reflect.Pointer {
			return v // an empty list of leases
		}
		v.Set(reflect.MakeSlice(of, 1, 1))
		v.Index(0).Set(argument(of.Elem()))
	case reflect.Func:
		v.Set(reflect.MakeFunc(of, func([]reflect.Value) []reflect.Value {
			out := make([]reflect.Value, of.NumOut())
			for i := range out {
				out[i] = reflect.New(of.Out(i)).Elem()
			}
			return out
		}))
	}
	return v
}
