package client

import (
	"context"
	"errors"
	"time"

	"github.com/sentinel-peer/sentinel-peer/internal/api"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/command"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/console"
)

// retryPause is how long to wait before a daemon that did not answer is asked again.
const retryPause = time.Second

// Persistence is that of a command without an end: a daemon may restart below it. One
// that never answered is given up after a while.
type Persistence struct {
	What    string    // is wanted of the daemon
	Until   time.Time // it has not answered
	reached bool      // it has
	told    string    // to the user, once
}

// Outlasts says whether to ask again after err, and waits before.
func (p *Persistence) Outlasts(ctx context.Context, err error) bool {
	if _, answer := errors.AsType[*Refusal](err); answer {
		p.reached = true // whatever it said
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

// Succeeded notes an answer that was wanted.
func (p *Persistence) Succeeded() { p.reached, p.told = true, "" }

// Passing says whether an error may pass by itself: a store that is full stays so until
// somebody deletes.
func Passing(err error) bool {
	if refused, ok := errors.AsType[*Refusal](err); ok && refused.Code == "store-full" {
		return false
	}
	e, ok := errors.AsType[*command.ExitError](err)
	return ok && (e.Code == api.ExitTimeout || e.Code == api.ExitUnhealthy || e.Code == api.ExitUnreachable)
}

// BackOff waits before a daemon is asked again, unless ctx ends.
func BackOff(ctx context.Context) {
	select {
	case <-time.After(retryPause):
	case <-ctx.Done():
	}
}
