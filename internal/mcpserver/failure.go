package mcpserver

import (
	"errors"
	"fmt"
	"strings"

	"github.com/sentinel-peer/sentinel-peer/internal/api"
)

// failure is an error as an agent sees it.
type failure struct {
	Code    string // stable, the same as that of the HTTP API where that has one
	Text    string
	Hint    string   // what to do next
	Current string   // the version of the key, for a conflict
	Holders []fields // the holders of a lock
}

// Error returns the text.
func (f *failure) Error() string { return f.Text }

func (f *failure) fields() fields {
	out := fields{"error", f.Text, "code", f.Code}
	if f.Current != "" {
		out = append(out, "current_version", f.Current)
	}
	if f.Holders != nil {
		out = append(out, "holders", f.Holders)
	}
	if f.Hint != "" {
		out = append(out, "hint", f.Hint)
	}
	return out
}

// explain returns an error as an agent sees it.
func explain(err error) *failure {
	if own, ok := errors.AsType[*failure](err); ok {
		return own
	}
	fault := api.FaultOf(err)
	f := &failure{Code: fault.Code, Text: shorten(strings.ToValidUTF8(api.Text(err), "\uFFFD"), 4<<10), Hint: fault.Hint}
	if v, ok := api.Current(err); ok {
		f.Current = v.String()
	}
	if lacking, ok := errors.AsType[*api.ForbiddenError](err); ok {
		f.Hint += ": " + fmt.Sprint(lacking.Missing)
	}
	return f
}
