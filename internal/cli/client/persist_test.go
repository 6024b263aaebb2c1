package client

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/sentinel-peer/sentinel-peer/internal/api"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/command"
	"github.com/sentinel-peer/sentinel-peer/internal/httpapi"
)

// A daemon that has answered anything is asked again for as long as it takes. A daemon that
// has never answered is waited for until the given moment.
func TestPersistence(t *testing.T) {
	hurried, cancel := context.WithCancel(t.Context())
	cancel() // no pauses
	stopping := command.Exit(api.ExitUnhealthy, &Refusal{httpapi.Problem{Code: "closed", Detail: "it stops"}})
	gone := command.Exit(api.ExitUnreachable, errors.New("no daemon"))
	wrong := command.Exit(api.ExitUsage, &Refusal{httpapi.Problem{Code: "bad-request", Detail: "no"}})
	over := time.Now().Add(-time.Second)
	for _, c := range []struct {
		name  string
		until time.Time
		said  []error
		want  bool // the result for the last error
	}{
		{"not up yet", time.Now().Add(time.Hour), []error{gone}, true},
		{"never up", over, []error{gone}, false},
		{"stops", over, []error{stopping}, true},
		{"gone after it stopped", over, []error{stopping, gone}, true},
		{"refuses", time.Now().Add(time.Hour), []error{stopping, wrong}, false},
	} {
		p := Persistence{What: c.name, Until: c.until}
		got := false
		for _, err := range c.said {
			got = p.Outlasts(hurried, err)
		}
		if got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
	p := Persistence{Until: over}
	p.Succeeded()
	if !p.Outlasts(hurried, gone) {
		t.Error("gone after a good answer: given up")
	}
}
