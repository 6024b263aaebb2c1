package cli

import (
	"context"
	"errors"
	"time"

	"github.com/sentinel-peer/sentinel-peer/internal/api"
)

// retryPause is how long to wait before a daemon that did not answer is asked again.
const retryPause = time.Second

// persistence is that of a command without an end: a daemon may restart below it. One
// that never answered is given up after a while.
type persistence struct {
	what    string    // is wanted of the daemon
	until   time.Time // it has not answered
	reached bool      // it has
	told    string    // to the user, once
}

// outlasts says whether to ask again after err, and waits before.
func (p *persistence) outlasts(ctx context.Context, err error) bool {
	if _, answer := errors.AsType[*refusal](err); answer {
		p.reached = true // whatever it said
	}
	if !passing(err) || !p.reached && time.Now().After(p.until) {
		return false
	}
	if p.told != err.Error() {
		p.told = err.Error()
		tell("%s: %v; asking again", p.what, err)
	}
	backOff(ctx)
	return true
}

// succeeded notes an answer that was wanted.
func (p *persistence) succeeded() { p.reached, p.told = true, "" }

// passing says whether an error may pass by itself: a store that is full stays so until
// somebody deletes.
func passing(err error) bool {
	if refused, ok := errors.AsType[*refusal](err); ok && refused.Code == "store-full" {
		return false
	}
	e, ok := errors.AsType[*exitError](err)
	return ok && (e.code == api.ExitTimeout || e.code == api.ExitUnhealthy || e.code == api.ExitUnreachable)
}

func backOff(ctx context.Context) {
	select {
	case <-time.After(retryPause):
	case <-ctx.Done():
	}
}
