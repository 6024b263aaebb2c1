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
	stopped          bool // by one of them
}

const (
	workPoll = 20 * time.Second // for one claim; then it is asked again
	// outputPatience is the least time that output of a command which has ended is waited for,
	// while others that it left behind hold it open.
	outputPatience = time.Second
	// maxItemEnv is what fits into one variable of Linux's environment, with room.
	maxItemEnv = 100_000
)

// NewWork is the command that works off a queue.
func NewWork(c *client.Client) *cobra.Command {
	w := work{Client: c}
	cmd := &cobra.Command{
		Use: "work QUEUE [flags] -- COMMAND...", Short: "Run a command for each item of a queue",
		Long: `Claim one item after the other, and run COMMAND for each: with its value, JSON, on
standard input and in SENTINEL_ITEM (up to 100 kB), and with SENTINEL_QUEUE,
SENTINEL_ITEM_ID, SENTINEL_ITEM_ATTEMPT and SENTINEL_ITEM_TOKEN. Give the token to
whatever COMMAND writes to, and have a lower one refused there.

The claim is extended while COMMAND runs, through whichever daemon of --http a,b,c answers. With exit code 0 the item is complete, and the
output its result: JSON if it is a value as the store keeps them, else text. What is
longer than a value may be is cut, and says so. With another exit code it is tried again later, with the end of what
was said on standard error as its reason, which the line about it shows too. If the claim is lost, the command's process
group gets SIGTERM, and SIGKILL after --grace. SIGTERM, SIGINT and SIGHUP go to COMMAND,
whose item is then free for others, and end this program.`,
		Example: `  sentinel-peer queue work mail -- ./send.sh
  sentinel-peer queue work mail --count 1 --idle 5s -- sh -c 'jq .to'`,
		Args: func(_ *cobra.Command, list []string) error {
			if len(list) < 2 {
				return command.Usage(errors.New("want the name of a QUEUE, and after -- a COMMAND"))
			}
			if list[0] == "" {
				return command.Usage(errors.New("QUEUE is empty"))
			}
			if !utf8.ValidString(list[0]) {
				return command.Usage(fmt.Errorf("QUEUE %q: %w", list[0], command.ErrNotText))
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.DurationVar(&w.ttl, "ttl", 10*time.Second, "how long an item is kept from others when this program dies; 500ms to the daemon's --max-ttl")
	f.DurationVar(&w.grace, "grace", 5*time.Second, "from SIGTERM to SIGKILL, when the claim is lost; and how long output is waited for that COMMAND's children hold open behind its end, but a second or more")
	f.DurationVar(&w.idle, "idle", 0, "end when no item came for so long, with exit code 3 if none came at all; 0 waits for ever")
	f.IntVar(&w.count, "count", 0, "end after so many items; 0 for no end")
	return c.Command(cmd, func(cmd *cobra.Command, args []string) error {
		if w.count < 0 {
			return command.Usage(fmt.Errorf("--count %d: want 0 or more", w.count))
		}
		w.queue, w.argv = args[0], args[1:]
		console.Stdout.Outlive() // who works for others does not wait for who reads its report
		return cmp.Or(w.run(cmd.Context()), console.Stdout.Delivered())
	})
}

// run handles items until ctx ends, which SIGTERM, SIGINT and SIGHUP do.
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
		case ctx.Err() != nil: // whoever breaks off a claim is not given one
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

// patience is how long the next claim may take.
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

// claim waits for an item, nil if none came. One that comes as ctx ends is returned too, to
// be given back.
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
	// What remained was measured after a wait, at a moment that is not known here.
	if err := it.lease.renew(ctx); err != nil && ctx.Err() == nil {
		console.Tell("item %q was lost at once: %v", it.ID, err)
		if !errors.Is(err, errEnded) {
			_ = w.finish(ctx, it, giveBack) // or its time runs out
		}
		return nil, nil
	}
	return it, nil
}

// handle runs the command for an item and tells the daemon how it went. An error ends
// the work: the command cannot be run.
func (w *work) handle(ctx context.Context, it *item) error {
	began := time.Now()
	value := it.Value.String()
	output, said := &head{}, &tail{}
	cmd := exec.Command(w.program, w.argv[1:]...)
	cmd.Args[0] = w.argv[0]
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(value), output, io.MultiWriter(said, console.Stderr.Raw())
	cmd.WaitDelay = max(w.grace, outputPatience)
	cmd.Env = append(commandEnv(), "SENTINEL_QUEUE="+w.queue, "SENTINEL_ITEM_ID="+it.ID,
		fmt.Sprintf("SENTINEL_ITEM_ATTEMPT=%d", it.Attempt), fmt.Sprintf("SENTINEL_ITEM_TOKEN=%d", it.Token))
	if len(value) <= maxItemEnv {
		cmd.Env = append(cmd.Env, "SENTINEL_ITEM="+value)
	}
	whole := context.WithoutCancel(ctx) // a command that runs is waited for
	w.stopped = ctx.Err() != nil
	for len(w.signals) > 0 { // from before the command ran
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
		console.Tell("item %q: its output is not UTF-8: what is none became U+FFFD", it.ID)
	}
	if w.stopped = stops(held.told); w.stopped && o.verb == "fail" {
		o = giveBack
	}
	return w.conclude(whole, it, o, began)
}

// stops says whether a signal ends this program.
func stops(s os.Signal) bool {
	return s == os.Interrupt || s == syscall.SIGTERM || s == syscall.SIGHUP
}

// giveBack frees an item for others at once.
var giveBack = outcome{verb: "fail", Error: "its worker was stopped", Retry: "0s"}

// conclude tells the daemon, and prints, what became of an item.
func (w *work) conclude(ctx context.Context, it *item, o outcome, began time.Time) error {
	said := map[string]string{"complete": "completed", "fail": "failed"}[o.verb]
	if o.Retry == giveBack.Retry {
		said = "returned"
	}
	err, why := w.finish(ctx, it, o), o.Error
	if refused, ok := errors.AsType[*client.Refusal](err); ok && o.Result != nil && !slices.Contains(endedCodes, refused.Code) && !client.Passing(err) {
		console.Tell("item %q: its result is refused: %v", it.ID, err)
		err = w.finish(ctx, it, outcome{verb: "complete", Result: fmt.Sprintf("(the result is refused: %v)", err)})
	}
	if err != nil {
		said, why = "lost", err.Error()
	}
	return w.report(it, said, why, began)
}

// finish tells the daemon, again and again until the claim is over.
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
	if w.Pool.Size() > 1 { // time is left for another
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

// report prints a line about an item, with why it was not completed.
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
