package hold

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/sentinel-peer/sentinel-peer/internal/api"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/client"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/command"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/console"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/status"
)

// work is one run of the queue work command.
type work struct {
	*client.Client
	queue            string
	argv             []string
	program          string
	ttl, grace, idle time.Duration
	count            int
	signals          chan os.Signal
	stopped          bool // a signal has ended the work
}

const (
	workPoll = 20 * time.Second // the longest wait of one claim, after which the next is sent
	// outputPatience is the least time to wait for the rest of an output after the command has
	// ended, while processes that it left behind hold the output open.
	outputPatience = time.Second
	// maxItemEnv is the longest value, in bytes, that is put into the environment: Linux takes
	// 128 KiB for one variable.
	maxItemEnv = 100_000
)

// NewWork returns the command that works on the items of a queue.
func NewWork(c *client.Client) *cobra.Command {
	w := work{Client: c}
	cmd := &cobra.Command{
		Use: "work QUEUE [flags] -- COMMAND...", Short: "Run a command for each item of a queue",
		Long: `Claim one item after the other, and run COMMAND for each. COMMAND gets the item's value
		as JSON, on standard input and (up to 100 kB) in SENTINEL_ITEM; and it gets SENTINEL_QUEUE,
		SENTINEL_ITEM_ID, SENTINEL_ITEM_ATTEMPT and SENTINEL_ITEM_TOKEN. Pass the token to the
		system that COMMAND writes to, and have that system refuse a token lower than one it has seen.

		The claim is extended while COMMAND runs, by any daemon of --http a,b,c that answers.
		With exit code 0 the item is complete, and the output is its result: JSON if the store can
		keep it as a value, else text. A result that is too long is cut, and says so. With another
		exit code the item is tried again later. The end of what COMMAND wrote to standard error is
		the reason, which is printed too. If the claim is lost, the command's process group gets
		SIGTERM, and SIGKILL after --grace. SIGTERM, SIGINT and SIGHUP are passed on to COMMAND and
		end this program; if COMMAND then fails, its item is free for other workers.`,
		Example: `  sentinel-peer queue work mail -- ./send.sh
  sentinel-peer queue work mail --count 1 --idle 5s -- sh -c 'jq .to'`,
		Args: nameAndCommand("QUEUE", command.Usage),
	}
	f := cmd.Flags()
	f.DurationVar(&w.ttl, "ttl", 10*time.Second, "how long an item stays claimed when this program is killed; 500ms to the daemon's --max-ttl")
	f.DurationVar(&w.grace, "grace", 5*time.Second, "time from SIGTERM to SIGKILL when the claim is lost; also, but at least 1s, how long to wait for output that children of COMMAND hold open after its end")
	f.DurationVar(&w.idle, "idle", 0, "end when no item came for this time, with exit code 3 if none came at all; 0 to wait for ever")
	f.IntVar(&w.count, "count", 0, "end after this many items; 0 for no end")
	return c.Command(cmd, func(cmd *cobra.Command, args []string) error {
		if w.count < 0 {
			return command.Usage(fmt.Errorf("--count %d: want 0 or more", w.count))
		}
		w.queue, w.argv = args[0], args[1:]
		console.Stdout.Outlive() // a slow reader of the report does not hold up the work
		return cmp.Or(w.run(cmd.Context()), console.Stdout.Delivered())
	})
}

// run handles items until SIGTERM, SIGINT or SIGHUP end ctx.
func (w *work) run(ctx context.Context) (err error) {
	if w.program, err = exec.LookPath(w.argv[0]); err != nil {
		return notExecuted(err)
	}
	console.OutliveReaders()
	if !signal.Ignored(syscall.SIGHUP) {
		var stop context.CancelFunc
		ctx, stop = signal.NotifyContext(ctx, syscall.SIGHUP)
		defer stop()
	}
	w.signals = heed()
	defer signal.Stop(w.signals)
	status.WarnAlone(ctx, w.Client)
	done, last := 0, time.Now()
	persist := client.Persistence{What: "queue work", Until: last.Add(w.Timeout)}
	for ctx.Err() == nil && !w.stopped && (w.count == 0 || done < w.count) {
		item, err := w.claim(ctx, w.patience(last))
		switch {
		case item != nil:
			if err := w.handle(ctx, item); err != nil {
				return err
			}
			done, last = done+1, time.Now()
		case ctx.Err() != nil: // the claim was broken off, so it granted nothing
		case err != nil:
			if !persist.Outlasts(ctx, err) {
				return err
			}
			continue
		case w.idle > 0 && time.Since(last) >= w.idle:
			if done == 0 {
				return command.Exit(api.ExitNotFound, fmt.Errorf("queue %q: nothing to claim for %v", w.queue, w.idle))
			}
			return nil
		}
		persist.Succeeded()
	}
	return nil
}

// patience returns how long the next claim may wait for an item.
func (w *work) patience(last time.Time) time.Duration {
	if w.idle == 0 {
		return workPoll
	}
	return min(max(w.idle-time.Since(last), 0), workPoll)
}

// item is one claimed item.
type item struct {
	api.Claimed
	lease *heldLease
	path  string
}

// claim waits for an item; it returns nil if none came. It also returns an item that came as ctx
// ended, so that it is given back.
func (w *work) claim(ctx context.Context, wait time.Duration) (*item, error) {
	patient := *w.Client
	patient.Timeout += wait
	var got api.List[api.Claimed]
	body := fmt.Appendf(nil, `{"wait":%q,"ttl":%q,"max":1}`, wait, w.ttl)
	if err := patient.Do(ctx, "POST", client.QueuePath(w.queue, "claim"), nil, body, nil, &got); err != nil || len(got.Items) == 0 {
		return nil, err
	}
	it := &item{Claimed: got.Items[0], path: client.QueuePath(w.queue, "items", got.Items[0].ID)}
	proof, err := json.Marshal(map[string]any{"lease": it.Lease, "token": it.Token})
	if err != nil {
		return nil, err
	}
	it.lease = &heldLease{Client: w.Bearer(), method: "POST", path: it.path + "/extend", proof: proof, ttl: w.ttl}
	// The remaining time was measured at the end of a wait, at a moment that is not known here.
	if err := it.lease.renew(ctx); err != nil && ctx.Err() == nil {
		console.Tell("item %q was lost at once: %v", it.ID, err)
		if !errors.Is(err, errEnded) {
			_ = w.finish(ctx, it, giveBack) // if that fails, the item is free when its TTL is over
		}
		return nil, nil
	}
	return it, nil
}

// handle runs the command for an item and reports the outcome to the daemon. It returns an error
// if the command cannot be run, which ends the work.
func (w *work) handle(ctx context.Context, it *item) error {
	began := time.Now()
	value := it.Value.String()
	output, said := &head{}, &tail{}
	variables := []string{"SENTINEL_QUEUE=" + w.queue, "SENTINEL_ITEM_ID=" + it.ID,
		fmt.Sprintf("SENTINEL_ITEM_ATTEMPT=%d", it.Attempt), fmt.Sprintf("SENTINEL_ITEM_TOKEN=%d", it.Token)}
	if len(value) <= maxItemEnv {
		variables = append(variables, "SENTINEL_ITEM="+value)
	}
	cmd := prepared(w.program, w.argv, variables...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(value), output, io.MultiWriter(said, console.Stderr.Raw())
	cmd.WaitDelay = max(w.grace, outputPatience)
	whole := context.WithoutCancel(ctx) // the end of ctx does not end a command that runs
	w.stopped = ctx.Err() != nil
	for len(w.signals) > 0 { // signals from before the command ran
		w.stopped = stops(<-w.signals) || w.stopped
	}
	if w.stopped {
		return w.conclude(whole, it, giveBack, began)
	}
	held := attended{what: fmt.Sprintf("item %q", it.ID), grace: w.grace, lease: it.lease}
	exit, lost, err := held.run(whole, cmd, w.signals)
	switch {
	case err != nil:
		return errors.Join(notExecuted(err), w.finish(whole, it, outcome{verb: "fail", Error: err.Error()}))
	case lost != nil:
		return w.report(it, "lost", lost.Error(), began)
	}
	o := judged(cmd, exit, output, said)
	if o.verb == "complete" && !utf8.Valid(output.kept) {
		console.Tell("item %q: its output is not UTF-8: the other bytes became U+FFFD", it.ID)
	}
	if w.stopped = stops(held.told); w.stopped && o.verb == "fail" {
		o = giveBack
	}
	return w.conclude(whole, it, o, began)
}

// stops reports whether a signal ends this program.
func stops(s os.Signal) bool {
	return s == os.Interrupt || s == syscall.SIGTERM || s == syscall.SIGHUP
}

// giveBack is the outcome that frees an item for other workers at once.
var giveBack = outcome{verb: "fail", Error: "its worker was stopped", Retry: "0s"}

// conclude reports the outcome of an item to the daemon, and prints it.
func (w *work) conclude(ctx context.Context, it *item, o outcome, began time.Time) error {
	said := map[string]string{"complete": "completed", "fail": "failed"}[o.verb]
	if o.Retry == giveBack.Retry {
		said = "returned"
	}
	err, why := w.finish(ctx, it, o), o.Error
	if refused, ok := errors.AsType[*client.Refusal](err); ok && o.Result != nil && !slices.Contains(endedCodes, refused.Code) && !client.Passing(err) {
		console.Tell("item %q: the daemon refused its result: %v", it.ID, err)
		err = w.finish(ctx, it, outcome{verb: "complete", Result: fmt.Sprintf("(the result was refused: %v)", err)})
	}
	if err != nil {
		said, why = "lost", err.Error()
	}
	return w.report(it, said, why, began)
}

// finish reports an outcome to the daemon. After a failure that may pass, it repeats the report
// until the claim is over.
func (w *work) finish(ctx context.Context, it *item, o outcome) error {
	body, err := json.Marshal(struct {
		outcome
		Lease string `json:"lease"`
		Token uint64 `json:"token"`
	}{o, it.Lease, it.Token})
	if err != nil {
		return err
	}
	asking := *it.lease.Client
	if w.Pool.Size() > 1 { // leave time for another daemon
		asking.Timeout = min(asking.Timeout, w.ttl/3)
	}
	for {
		err := asking.Do(ctx, "POST", it.path+"/"+o.verb, nil, body, nil, nil)
		if err == nil || !client.Passing(err) || boottime() >= it.lease.deadline {
			return err
		}
		client.BackOff(ctx)
	}
}

// report prints a line about an item, and why it was not completed.
func (w *work) report(it *item, verdict, why string, began time.Time) error {
	took := time.Since(began).Round(time.Millisecond)
	if w.Output == "table" {
		line := fmt.Sprintf("%s  %s  %v", console.Visible(it.ID, ""), verdict, took)
		if why != "" {
			line += "  " + console.Visible(why, "")
		}
		_, err := fmt.Fprintln(w.Out, line)
		return err
	}
	line := map[string]any{"id": it.ID, "attempt": it.Attempt, "verdict": verdict, "seconds": took.Seconds()}
	if why != "" {
		line["error"] = why
	}
	return json.NewEncoder(w.Out).Encode(line)
}
