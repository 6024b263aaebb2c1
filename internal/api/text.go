package api

import (
	"context"
	"strings"
)

var endings = strings.NewReplacer(context.DeadlineExceeded.Error(), "the time for it is over", context.Canceled.Error(), "it was given up")

// Text returns what an error says, in words for clients: they know no contexts.
func Text(err error) string { return endings.Replace(err.Error()) }
