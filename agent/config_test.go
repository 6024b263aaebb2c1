package agent

import (
	"context"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-peer/sentinel-peer/crdt"
)

// row is a value of a field of Config. Open fails with an error that contains refused, or succeeds if
// that is empty.
type row struct {
	value   any
	refused string
}

const longest = time.Duration(math.MaxInt64)

// fields has rows for every field of a Config. A value that is negative, zero, huge or senseless either
// works or is refused by an error that names the field.
var fields = map[string][]row{
	"Name":      {{"", "name is empty"}, {"a/b", "name"}, {strings.Repeat("x", 129), "name"}, {"\x00", "name"}, {strings.Repeat("x", 128), ""}},
	"Cluster":   {{"", "cluster"}, {strings.Repeat("x", 65), "cluster"}, {strings.Repeat("x", 64), ""}},
	"Bind":      {{"", ""}, {"nonsense", "bind"}, {"127.0.0.1:99999", "bind"}, {"127.0.0.1:-1", "bind"}, {"0.0.0.0:0", "key"}},
	"Advertise": {{"", ""}, {"127.0.0.1:99999", "advertise"}},
	"Seeds":     {{[]string(nil), ""}, {[]string{""}, "Seeds[0]"}},
	"Keys":      {{[][]byte(nil), ""}, {[][]byte{make([]byte, 5)}, "Keys[0]"}, {[][]byte{make([]byte, 32)}, ""}},
	"HTTP":      {{"", ""}, {strings.Repeat("x", 1000), "Meta"}},

	"Rules":     {{[]crdt.Rule{{Pattern: "["}}, "["}, {[]crdt.Rule{{Pattern: "k", Kind: crdt.Custom, Resolver: "none"}}, "none"}},
	"Resolvers": {{map[string]crdt.Resolver{"nil": nil}, ""}},

	"BatchInterval":     {{time.Duration(0), ""}, {AtOnce, ""}, {-time.Second, "batch interval"}, {longest, "batch interval"}},
	"DefaultTTL":        {{time.Duration(0), ""}, {Never, ""}, {-time.Second, "default TTL"}, {time.Nanosecond, "default TTL"}, {longest, ""}},
	"CacheSize":         {{0, ""}, {-1, "sizes"}, {math.MaxInt, ""}},
	"CacheTTL":          {{time.Duration(0), ""}, {-time.Second, "cache TTL"}, {longest, ""}},
	"HeartbeatInterval": {{time.Duration(0), ""}, {Manual, ""}, {-time.Second, "heartbeat interval"}, {time.Nanosecond, "heartbeat interval"}, {longest, "heartbeat TTL"}},
	"HeartbeatTTL":      {{time.Duration(0), ""}, {-time.Second, "heartbeat TTL"}, {time.Second, "heartbeat TTL"}, {longest, "heartbeat TTL"}},

	"Locks.Voters":     {{[]string{}, ""}, {[]string{""}, "voter"}, {[]string{"n", "n"}, "voter"}, {strings.Split("abcdefgh", ""), "voter"}},
	"Locks.Epoch":      {{uint64(0), ""}, {uint64(math.MaxUint64), ""}},
	"Locks.FirstBoot":  {{true, ""}},
	"Locks.StateDir":   {{"/dev/null/none", "lock state"}},
	"Locks.MaxTTL":     {{time.Duration(0), ""}, {-time.Second, "MaxTTL"}, {time.Nanosecond, "MaxTTL"}, {longest, "MaxTTL"}},
	"Locks.BestEffort": {{true, ""}},

	"Queues.MaxItems":    {{0, ""}, {-1, "queues"}, {math.MaxInt, ""}},
	"Queues.MaxAttempts": {{0, ""}, {-1, "queues"}, {math.MaxInt, ""}},
	"Queues.Retention":   {{time.Duration(0), ""}, {-time.Second, "queues"}, {time.Second, "queues"}, {longest, ""}},

	"WatchBuffer": {{0, ""}, {-1, "sizes"}, {math.MaxInt, ""}},
	"History":     {{0, ""}, {-1, "history"}, {math.MaxInt, "history"}},
	"MaxSkew":     {{time.Duration(0), ""}, {-time.Hour, "clock skew"}, {time.Nanosecond, "clock skew"}, {longest, "clock skew"}},
	"MaxBacklog":  {{0, ""}, {-1, "sizes"}, {1, ""}, {math.MaxInt, ""}},
	"MaxBytes":    {{0, ""}, {-1, "memory bound"}, {1, "memory bound"}, {math.MaxInt, ""}},

	"Logger":  {}, // nil is the default; there is no wrong value
	"Faults":  {{true, ""}},
	"Network": {}, // nil is the default; there is no wrong value
}

func TestEveryFieldOfAConfigIsChecked(t *testing.T) {
	names := make(map[string]bool)
	var look func(prefix string, of reflect.Type)
	look = func(prefix string, of reflect.Type) {
		for i := range of.NumField() {
			f := of.Field(i)
			if f.Type.Kind() == reflect.Struct {
				look(f.Name+".", f.Type)
				continue
			}
			name := prefix + f.Name
			names[name] = true
			if _, known := fields[name]; !known {
				t.Errorf("Config.%s has no row in this test's table", name)
			}
		}
	}
	look("", reflect.TypeFor[Config]())
	for name, rows := range fields {
		if !names[name] {
			t.Errorf("there is no Config.%s", name)
		}
		for _, r := range rows {
			cfg := Config{Name: "n", Cluster: "test"}
			v := reflect.ValueOf(&cfg).Elem()
			for part := range strings.SplitSeq(name, ".") {
				v = v.FieldByName(part)
			}
			v.Set(reflect.ValueOf(r.value))
			try(t, name, r, cfg)
		}
	}
	// Two intervals of this length overflow a time.Duration.
	try(t, "HeartbeatInterval", row{longest, "heartbeat TTL"}, Config{Name: "n", Cluster: "test", HeartbeatInterval: longest, HeartbeatTTL: time.Hour})
}

// try opens an agent, and checks that a subscriber gets a write.
func try(t *testing.T, field string, r row, cfg Config) {
	t.Helper()
	a, err := Open(t.Context(), cfg)
	if err != nil {
		if r.refused == "" || !strings.Contains(strings.ToLower(err.Error()), strings.ToLower(r.refused)) {
			t.Errorf("%s %v: %v; want an error with %q", field, r.value, err, r.refused)
		}
		return
	}
	defer a.Close(context.Background())
	if r.refused != "" {
		t.Errorf("%s %v: accepted; want an error with %q", field, r.value, r.refused)
		return
	}
	s, err := a.Watch(t.Context(), "**")
	if err == nil {
		err = a.Put(t.Context(), "k", 1)
	}
	if err != nil {
		t.Errorf("%s %v: %v", field, r.value, err)
		return
	}
	for e := range s.C() {
		if e.Key == "k" {
			break
		}
	}
}
