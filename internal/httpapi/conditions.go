package httpapi

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/internal/api"
)

// tag is an entity-tag (RFC 9110, 8.8.3).
type tag struct {
	opaque string
	weak   bool // proxies that change the encoding of an answer make tags weak
}

var errTags = errors.New(`want *, or tags as in ETag, such as "3f0c9a1b2d4e5f60", separated by commas`)

// tagsOf reads the lines of an If-Match or If-None-Match header.
func tagsOf(lines []string) (list []tag, any bool, err error) {
	rest := strings.TrimSpace(strings.Join(lines, ","))
	if rest == "*" {
		return nil, true, nil
	}
	for {
		var t tag
		rest, t.weak = strings.CutPrefix(rest, "W/")
		quoted, open := strings.CutPrefix(rest, `"`)
		opaque, after, closed := strings.Cut(quoted, `"`)
		if !open || !closed {
			return nil, false, errTags
		}
		t.opaque = opaque
		list = append(list, t)
		if rest = strings.TrimLeft(after, " \t"); rest == "" {
			return list, false, nil
		}
		next, more := strings.CutPrefix(rest, ",")
		if !more {
			return nil, false, errTags
		}
		rest = strings.TrimLeft(next, " \t,")
	}
}

// unchanged reports whether a reader that sent these lines of If-None-Match has the version
// already. A malformed tag matches no version.
func unchanged(lines []string, version crdt.Version) bool {
	if len(lines) == 0 {
		return false
	}
	list, any, err := tagsOf(lines)
	return err == nil && (any || slices.ContainsFunc(list, func(t tag) bool { return t.opaque == version.String() }))
}

// preconditions reads the If-Match and If-None-Match of a write. It refuses them for an operation
// without conditions, since a write must not be made against its condition.
func preconditions(r *http.Request, op *api.Operation, req *api.Request) error {
	match, none := r.Header.Values("If-Match"), r.Header.Values("If-None-Match")
	if safe(r) || len(match)+len(none) == 0 {
		return nil
	}
	if !op.Conditional() {
		return &api.BadRequest{Reason: fmt.Sprintf("%s %s takes neither If-Match nor If-None-Match", op.Method, op.Path)}
	}
	req.If = &api.Condition{}
	var err error
	if len(match) > 0 {
		if req.If.Among, req.If.Exists, err = versions("If-Match", match, false); err == nil && len(req.If.Among) == 0 && !req.If.Exists {
			err = &Problem{Status: http.StatusPreconditionFailed, Code: "version-conflict", Detail: `If-Match: a weak tag (W/"…") matches nothing; remove W/ if the proxy that added it leaves values unchanged`}
		}
	}
	if err == nil && len(none) > 0 {
		req.If.NotAmong, req.If.Absent, err = versions("If-None-Match", none, true)
	}
	return err
}

// versions reads the tags in the condition of a write. Weak tags count where the header is compared
// weakly.
func versions(header string, lines []string, weak bool) (list []crdt.Version, any bool, err error) {
	tags, any, err := tagsOf(lines)
	if err != nil {
		return nil, false, &api.BadRequest{Reason: header + ": " + err.Error()}
	}
	for _, t := range tags {
		v, err := crdt.ParseVersion(t.opaque)
		if err != nil {
			return nil, false, &api.BadRequest{Reason: header + ": " + err.Error() + ", as in ETag"}
		}
		if weak || !t.weak {
			list = append(list, v)
		}
	}
	return list, any, nil
}
