package api

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/lockservice"
)

// The table in docs/http.md has every code, with its status.
func TestTheDocsHaveEveryCode(t *testing.T) {
	b, err := os.ReadFile("../../docs/http.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]string{}
	for _, row := range regexp.MustCompile(`(?m)^\| (<a .*?) \| (\d+) \|`).FindAllStringSubmatch(string(b), -1) {
		for _, code := range regexp.MustCompile("`([a-z-]+)`").FindAllStringSubmatch(row[1], -1) {
			if !strings.Contains(row[1], `<a id="`+code[1]+`">`) {
				t.Errorf("%s has no anchor, which the type of a problem refers to", code[1])
			}
			documented[code[1]] = row[2]
		}
	}
	told := []Fault{FaultOf(fmt.Errorf("nobody knows"))}
	for _, k := range faults {
		told = append(told, k.Fault)
	}
	for _, f := range told {
		if documented[f.Code] != fmt.Sprint(f.Status) {
			t.Errorf("%s is %d; docs/http.md says %q", f.Code, f.Status, documented[f.Code])
		}
		if f.Hint == "" {
			t.Errorf("%s has no hint", f.Code)
		}
	}
}

// Every surface gets the fault of an error from this table. The first match counts, however the
// error is wrapped.
func TestAnErrorIsOfTheKindThatSaysMost(t *testing.T) {
	for want, list := range map[string][]error{
		"400 2 bad-key":           {&crdt.KeyError{}},
		"400 2 bad-ttl":           {lockservice.ErrTTLTooShort, &lockservice.TTLError{TTL: 1, Least: 2, Most: 3}, &lockservice.TTLError{TTL: 9, Least: 2, Most: 3}},
		"403 5 forbidden":         {&ForbiddenError{}},
		"404 3 not-found":         {agent.ErrNotFound},
		"409 4 alive":             {agent.ErrAlive},
		"409 4 held":              {&lockservice.HeldError{}, lockservice.ErrTimeout},
		"409 4 lease-lost":        {lockservice.ErrLost},
		"412 4 version-conflict":  {&crdt.ConflictError{}, &ConditionError{}},
		"429 7 too-many-requests": {&LimitError{Own: true}},
		"503 8 busy":              {&LimitError{}},
		"503 8 no-majority":       {&lockservice.UnavailableError{Cause: context.DeadlineExceeded}},
		"503 8 voters-differ":     {&lockservice.MismatchError{}},
		"503 8 workers-full":      {agent.ErrTooManyWorkers},
		"504 7 not-replicated":    {&agent.ReplicationError{Err: context.DeadlineExceeded}},
		"504 7 timeout":           {context.DeadlineExceeded},
		"507 8 store-full":        {&crdt.FullError{}},
		"500 1 internal":          {http.ErrBodyNotAllowed},
	} {
		for _, err := range list {
			f := FaultOf(fmt.Errorf("batch: %w", &crdt.OpError{Err: err}))
			if got := fmt.Sprintln(f.Status, ExitCode(f.Status), f.Code); got != want+"\n" {
				t.Errorf("%v is %s, want %s", err, got, want)
			}
		}
	}
}
