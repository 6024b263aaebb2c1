package data

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/internal/api"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/client"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/command"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/console"
)

// watching is one run of the watch command.
type watching struct {
	*client.Client
	query url.Values
	last  string // id of the last event or heartbeat, to go on behind it
}

// errStreamEnd says that the daemon, or the way to it, is gone.
var errStreamEnd = command.Exit(api.ExitUnreachable, errors.New("the daemon ended the stream"))

func newWatch(c *client.Client) *cobra.Command {
	var snapshot bool
	cmd := &cobra.Command{
		Use: "watch [PATTERN]", Short: "Print changes as they happen, until interrupted",
		Long: `Print changes as they happen, until interrupted. When the daemon restarts, it goes on
behind the last event that it printed; where that comes too late, the state follows anew.`,
		Example: "  sentinel-peer watch 'tasks/**' --snapshot -o ndjson", Args: command.Args(cobra.MaximumNArgs(1)),
	}
	cmd.Flags().BoolVar(&snapshot, "snapshot", false, "first print what is there")
	return c.Command(cmd, func(cmd *cobra.Command, args []string) error {
		w := watching{Client: c, query: url.Values{"match": {"**"}}}
		if len(args) > 0 {
			w.query.Set("match", args[0])
		}
		if snapshot {
			w.query.Set("snapshot", "true")
		}
		return w.run(cmd.Context())
	})
}

// run prints events until ctx ends, over as many streams as it takes.
func (w *watching) run(ctx context.Context) error {
	persist := client.Persistence{What: "watch", Until: time.Now().Add(w.Timeout)}
	for {
		res, err := w.begin(ctx)
		if err == nil {
			persist.Succeeded()
			err = w.events(res)
			if w.last == "" { // what happens until the next stream is in the state only
				w.query.Set("snapshot", "true")
			}
		}
		if ctx.Err() != nil {
			return nil
		}
		if !persist.Outlasts(ctx, err) {
			return err
		}
	}
}

// begin opens a stream that goes on behind the last event.
func (w *watching) begin(ctx context.Context) (*http.Response, error) {
	h := http.Header{}
	if w.last != "" {
		h.Set("Last-Event-ID", w.last)
	}
	return w.Open(ctx, "GET", "/v1/watch", w.query, nil, h)
}

// events reads by hand what the daemon writes: one line of data each. It prints those of one stream until it ends.
func (w *watching) events(res *http.Response) error {
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, 16<<20)
	id := w.last
	for lines.Scan() {
		line := lines.Text()
		name, value, _ := strings.Cut(line, ": ")
		switch {
		case line == "": // the end of an event, or of a heartbeat
			w.last = id
		case name == "id":
			id = value
		case name == "data":
			if err := w.print(value); err != nil {
				return err
			}
		}
	}
	return errStreamEnd
}

func (w *watching) print(data string) error {
	if w.Output != "table" {
		_, err := fmt.Fprintln(w.Out, data)
		return err
	}
	var e api.Event
	if err := json.Unmarshal([]byte(data), &e); err != nil {
		return err
	}
	switch e.Cause {
	case agent.CauseSynced:
		console.Tell("that is all there is; changes follow")
	case agent.CauseLagged:
		console.Tell("some changes were missed; all there is follows anew")
	default:
		line := fmt.Sprintf("%s  %-8s  %-10s  %s = %s", e.At.Local().Format("15:04:05.000"), e.Cause, e.Writer, e.Key, e.Value)
		_, err := fmt.Fprintln(w.Out, console.Visible(line, ""))
		return err
	}
	return nil
}
