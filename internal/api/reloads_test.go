package api

import (
	"errors"
	"fmt"
	"testing"
)

func TestARefusedReloadIsToldUntilOneIsTaken(t *testing.T) {
	var r Reloads
	shows := func(g *Grant, want string) {
		t.Helper()
		if got := fmt.Sprint(r.shown(g)); got != want {
			t.Errorf("shown are %s, want %s", got, want)
		}
	}
	r.Done("tokens", errors.New("t: line 1"))
	r.Done("keys", errors.New("k: no key"))
	r.Done("settings", nil)
	shows(nil, "[{keys k: no key} {tokens t: line 1}]")
	shows(&Grant{Rights: []Right{{Admin, ""}}}, "[{keys k: no key} {tokens t: line 1}]")
	shows(&Grant{Rights: []Right{{Read, Everything}}}, "[{keys } {tokens }]")
	r.Done("keys", nil)
	shows(nil, "[{tokens t: line 1}]")
	if none := (*Reloads)(nil).shown(nil); none != nil {
		t.Error(none)
	}
}
