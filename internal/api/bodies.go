package api

import (
	"encoding/json"

	"github.com/sentinel-peer/sentinel-peer/crdt"
)

// These are the bodies of requests that have fields of their own.
type (
	setBody struct {
		Add    []json.RawMessage `json:"add"`
		Remove []json.RawMessage `json:"remove"`
	}
	counterBody struct {
		Add *int64          `json:"add"`
		Max json.RawMessage `json:"max"`
	}
	progressBody struct {
		Progress *float64 `json:"progress"` // a fraction from 0 to 1; a number over 1 is a percentage
		Percent  *float64 `json:"percent"`  // a percentage from 0 to 100, in place of Progress
		Status   string   `json:"status"`
	}
	capacityBody struct {
		Capacity int `json:"capacity"`
	}
	beatBody struct {
		TTL string `json:"ttl"`
	}
	queueBody struct {
		Pending    []string                   `json:"pending"`
		Processing []string                   `json:"processing"`
		Fields     map[string]json.RawMessage `json:"fields"`
	}
	acquireBody struct {
		TTL    string `json:"ttl"`
		Wait   string `json:"wait"`
		Shared bool   `json:"shared"`
		Client string `json:"client"`
	}
	leaseBody struct {
		Lease string `json:"lease"`
	}
	itemBody struct {
		Value       crdt.Value `json:"value"`
		Priority    int        `json:"priority"`
		Delay       string     `json:"delay"`
		ID          string     `json:"id"`
		MaxAttempts int        `json:"max_attempts"`
	}
	claimBody struct {
		Wait string `json:"wait"`
		TTL  string `json:"ttl"`
		Max  int    `json:"max"`
	}
	// verdictBody finishes or extends a claim.
	verdictBody struct {
		Lease  string     `json:"lease"`
		Token  uint64     `json:"token"`
		Result crdt.Value `json:"result"` // for complete
		Error  string     `json:"error"`  // for fail
		Retry  string     `json:"retry"`  // for fail: the time until the next attempt instead of the back-off, or "never"
	}
	idsBody struct {
		IDs []string `json:"ids"`
	}
	forgetBody struct {
		Name string `json:"name"`
	}
)
