package mcpbridge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// refused is an answer of the daemon that is not a message.
type refused struct {
	status int
	body   []byte
}

func (r *refused) Error() string {
	var problem struct{ Detail string }
	if json.Unmarshal(r.body, &problem) == nil && problem.Detail != "" {
		return problem.Detail
	}
	text := strings.TrimSpace(string(r.body[:min(len(r.body), 1000)]))
	return fmt.Sprintf("%d %s: %s", r.status, http.StatusText(r.status), text)
}

// refuse answers a request that the daemon did not answer.
func (b *bridge) refuse(m *message, err error) {
	b.cfg.Logger.Warn("a request failed", "method", m.Method, "err", err)
	no, ok := errors.AsType[*refused](err)
	switch {
	case ok && (no.status == http.StatusUnauthorized || no.status == http.StatusForbidden):
		b.write(m.unavailable("unauthorized", no.Error(), "the bridge needs a token that the daemon knows: see --token-file"))
	case ok && no.status == http.StatusServiceUnavailable || ok && no.status == http.StatusTooManyRequests:
		b.write(m.unavailable("busy", no.Error(), "try again in a few seconds"))
	case ok:
		b.write(m.failed(codeInvalid, no.Error()))
	case unstarted(err):
		b.write(m.unavailable("unreachable", "no daemon at "+b.cfg.URL, "start one with 'sentinel-peer agent' and try again; this session goes on then"))
	case errors.Is(err, errInputEnded), errors.Is(err, context.Canceled):
		b.write(m.unavailable("closed", "the bridge is stopping, and gave the call up", "the call may have been executed: check before you try again"))
	case errors.Is(err, context.DeadlineExceeded):
		b.write(m.unavailable("timeout", "the daemon did not answer in time", "the call may have been executed: check before you try again"))
	default:
		b.write(m.unavailable("unreachable", "the daemon broke off: "+err.Error(), "the call may have been executed: check before you try again"))
	}
}
