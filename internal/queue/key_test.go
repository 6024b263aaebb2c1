package queue

import (
	"strings"
	"testing"
)

func TestKeysComeBackAsTheyWere(t *testing.T) {
	for key, want := range map[string]Key{
		ItemKey("q", "x"):                             {Queue: "q", ID: "x", part: itemsPart},
		ClaimKey("q", "x", 1<<63):                     {Queue: "q", ID: "x", part: claimsPart, token: 1 << 63},
		SettingKey("q"):                               {Queue: "q", part: settingPart},
		keyPrefix + "q/items":                         {},
		keyPrefix + "q/items/":                        {},
		keyPrefix + "q/items/x/1":                     {},
		keyPrefix + "q/claims/x":                      {},
		keyPrefix + "q/claims/x/one":                  {},
		keyPrefix + "q/claims//1":                     {},
		keyPrefix + "q/settings/x":                    {},
		keyPrefix + "q/" + "others/x":                 {},
		keyPrefix:                                     {},
		strings.TrimPrefix(ItemKey("q", "x"), "task"): {},
	} {
		if k, ok := ParseKey(key); ok != (want != Key{}) || ok && k != want {
			t.Errorf("%q is read as %+v, %t; want %+v", key, k, ok, want)
		}
	}
	if q, id, ok := ParseLock(Lock("q", "x/y")); !ok || q != "q" || id != "x/y" {
		t.Errorf("a lock's name is read as %q, %q, %t", q, id, ok)
	}
	for _, lock := range []string{"", "q/x", "queue/q/x", "queues/q"} {
		if q, id, ok := ParseLock(lock); ok {
			t.Errorf("%q is read as %q of %q", lock, id, q)
		}
	}
	for name, fine := range map[string]bool{"": false, "x": true, "a b": true, "a/b": false, "a#1": false, "a\x00": false,
		strings.Repeat("x", MaxName): true, strings.Repeat("x", MaxName+1): false} {
		if err := CheckName(name); (err == nil) != fine {
			t.Errorf("CheckName(%q) says %v", name, err)
		}
	}
	if err := CheckID(strings.Repeat("x", MaxID+1)); err == nil || CheckID(strings.Repeat("x", MaxID)) != nil {
		t.Errorf("CheckID says %v of an id that is too long", err)
	}
}
