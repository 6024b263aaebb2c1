package client

import (
	"context"
	"errors"
	"time"

	"github.com/sentinel-peer/sentinel-peer/internal/api"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/command"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/console"
)

// retryPause is the time before a daemon that did not answer is asked again.
const retryPause = time.Second

// Persistence decides how long a command without an end of its own asks again. It asks a
// daemon that has answered before for ever, since a daemon may restart. It gives up a daemon
// that never answered at the moment Until.
type Persistence struct {
	What    string    // the subject of the messages to the user
	Until   time.Time // when to give up a daemon that has never answered
	reached bool      // the daemon has answered at least once
	told    string    // the last message to the user, which is not repeated
}

// Outlasts reports whether to ask again after err. If so, it waits for retryPause first.
func (p *Persistence) Outlasts(ctx context.Context, err error) bool {
	if _, answer := errors.AsType[*Refusal](err); answer {
		p.reached = true // a refusal is an answer too
	}
	if !Passing(err) || !p.reached && time.Now().After(p.Until) {
		return false
	}
	if p.told != err.Error() {
		p.told = err.Error()
		console.Tell("%s: %v; asking again", p.What, err)
	}
	BackOff(ctx)
	return true
}

// Succeeded records an answer without an error.
func (p *Persistence) Succeeded() { p.reached, p.told = true, "" }

// Passing reports whether an error may go away by itself. A full store does not: it stays
// full until somebody deletes something.
func Passing(err error) bool {
	if refused, ok := errors.AsType[*Refusal](err); ok && refused.Code == "store-full" {
		return false
	}
	e, ok := errors.AsType[*command.ExitError](err)
	return ok && (e.Code == api.ExitTimeout || e.Code == api.ExitUnhealthy || e.Code == api.ExitUnreachable)
}

// BackOff waits for retryPause, or until ctx ends.
func BackOff(ctx context.Context) {
	select {
	case <-time.After(retryPause):
	case <-ctx.Done():
	}
}
