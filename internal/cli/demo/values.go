package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/sentinel-peer/sentinel-peer/internal/api"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/client"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/command"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/local"
)

// everyType writes a value of each type at the peer p, the i-th of the fleet.
func everyType(ctx context.Context, p *local.Process, i int, round string) error {
	return errors.Join(
		p.Put(ctx, "demo/color/"+p.Name, fmt.Sprintf("%q", round)),
		p.Post(ctx, "/v1/sets/", "demo/tags", fmt.Sprintf(`{"add":[%q,"all"]}`, p.Name+"-"+round)),
		p.Post(ctx, "/v1/counters/", "demo/done", fmt.Sprintf(`{"add":%d}`, 10*(i+1))),
		p.Post(ctx, "/v1/counters/", "demo/record", fmt.Sprintf(`{"max":%d}`, 100+i)),
		p.Client.Do(ctx, "PATCH", client.KeyPath("/v1/keys/", "demo/task"), nil, fmt.Appendf(nil, `{"workers":{%q:%q},"status":%q}`, p.Name, "busy", round), nil, nil),
		p.Put(ctx, "demo/opinion", fmt.Sprintf("%q", p.Name), "type", "custom"),
		p.Put(ctx, "demo/session/"+p.Name, `"short-lived"`, "ttl", "1500ms"),
	)
}

// shown returns what the peer p holds at a key, as a cell of the table.
func shown(ctx context.Context, p *local.Process, key string) string {
	var v json.RawMessage
	err := p.Client.Do(ctx, "GET", client.KeyPath("/v1/keys/", key), nil, nil, nil, &v)
	if e, ok := errors.AsType[*command.ExitError](err); ok && e.Code == api.ExitNotFound {
		return absent
	}
	if err != nil {
		return "error: " + err.Error()
	}
	return string(v)
}
