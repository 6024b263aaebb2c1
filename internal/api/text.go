package api

import (
	"context"
	"strings"
)

var endings = strings.NewReplacer(context.DeadlineExceeded.Error(), "the time for it is over", context.Canceled.Error(), "it was given up")

// Text returns the text of an error for clients, who do not know what a Go context is.
func Text(err error) string { return endings.Replace(err.Error()) }
