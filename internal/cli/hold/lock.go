package hold

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sentinel-peer/sentinel-peer/internal/api"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/client"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/command"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/console"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/status"
	"github.com/sentinel-peer/sentinel-peer/lockservice"
)

// lockRun is one run of the lock command.
type lockRun struct {
	*client.Client
	name, program    string
	ttl, wait, grace time.Duration
	shared           bool
}

// lockLease is the lease on the lock.
type lockLease struct {
	*heldLease
	name  string
	token uint64
}

// release ends the lease. If that fails, the lock is free when the TTL is over.
func (l *lockLease) release(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.ttl) // a signal may have ended ctx
	defer cancel()
	if err := l.Do(ctx, "DELETE", l.path, nil, l.proof, nil, nil); err != nil {
		console.Tell("lock %q is not released; it is free after %v: %v", l.name, l.ttl, err)
	}
}

func newLock(c *client.Client) *cobra.Command {
	run := lockRun{Client: c}
	cmd := &cobra.Command{
		Use: "lock NAME [flags] -- COMMAND...", Short: "Run a command while holding a lock",
		Long: `Wait for a lock, run COMMAND while holding it, and pass on its exit code.

		COMMAND gets SENTINEL_LOCK_NAME and SENTINEL_LOCK_TOKEN. A lease can be lost while its
		holder is paused or cut off. So pass the token to the system that COMMAND writes to, and
		have that system refuse a token lower than one it has seen.

		With several daemons of the cluster (--http a,b,c), the lock outlives the stop of one: it
		is renewed and released through another.

		If the lease is lost, the command's process group gets SIGTERM, and SIGKILL after
		--grace. Exit codes: 123 lease lost, 124 wait expired, 125 failure of this program,
		126 and 127 COMMAND cannot be executed or found, 128+n ended by signal n.`,
		Example: `  sentinel-peer lock nightly --wait 1h -- ./backup.sh
  sentinel-peer lock tasks/42 --ttl 2s --wait 30s -- sh -c 'work --fence $SENTINEL_LOCK_TOKEN'
  sentinel-peer lock nightly --http n1:7700,n2:7700,n3:7700 -- ./backup.sh`,
		Args: nameAndCommand("NAME", ours),
	}
	f := cmd.Flags()
	f.DurationVar(&run.ttl, "ttl", 10*time.Second, "how long the lock stays held when this program is killed; 500ms to the daemon's --max-ttl")
	f.DurationVar(&run.wait, "wait", 30*time.Second, "how long to wait for other holders; 0 for not at all")
	f.DurationVar(&run.grace, "grace", 5*time.Second, "time from SIGTERM to SIGKILL when the lease is lost")
	f.BoolVar(&run.shared, "shared", false, "share the lock with other holders that use --shared")
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return ours(command.Clearer(err)) })
	c.Command(cmd, func(cmd *cobra.Command, args []string) error {
		run.name = args[0]
		return run.run(context.WithoutCancel(cmd.Context()), args[1:]) // signals go to the command
	})
	inner := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		err := inner(cmd, args)
		var e *command.ExitError
		if errors.As(err, &e) && e.Code == api.ExitUsage {
			return ours(e.Err)
		}
		return err
	}
	return cmd
}

func (r *lockRun) run(ctx context.Context, argv []string) error {
	program, err := exec.LookPath(argv[0])
	if err != nil {
		return notExecuted(err)
	}
	r.program = program
	console.OutliveReaders()
	signals := heed()
	defer signal.Stop(signals)
	lease, err := r.acquire(ctx, signals)
	if err != nil {
		return err
	}
	cmd := prepared(program, argv, "SENTINEL_LOCK_NAME="+r.name, fmt.Sprintf("SENTINEL_LOCK_TOKEN=%d", lease.token))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	held := attended{what: fmt.Sprintf("lock %q", r.name), grace: r.grace, lease: lease.heldLease, terminal: true}
	exit, lost, err := held.run(ctx, cmd, signals)
	if err != nil {
		lease.release(ctx)
		return notExecuted(err)
	}
	if lost != nil {
		return command.Exit(ExitLost, fmt.Errorf("lock %q was lost: %w", r.name, lost))
	}
	lease.release(ctx)
	return passed(cmd, exit)
}

// acquire waits for the lock. A signal ends the wait.
func (r *lockRun) acquire(ctx context.Context, signals <-chan os.Signal) (*lockLease, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	done, heard := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(heard)
		select {
		case s := <-signals:
			cancel(command.Exit(128+number(s), fmt.Errorf("lock %q: %v while waiting", r.name, s)))
		case <-done:
		}
	}()
	lease, err := r.ask(ctx)
	close(done)
	<-heard // so that later signals go to the command
	if stopped, ok := errors.AsType[*command.ExitError](context.Cause(ctx)); ok {
		if lease != nil {
			lease.release(ctx)
		}
		return nil, stopped
	}
	return lease, err
}

// self describes this process to those who inspect the lock. It leaves out arguments, which may
// be secret.
func (r *lockRun) self() string {
	host, _ := os.Hostname()
	const most = 64 // bytes
	text := console.Visible(fmt.Sprintf("%s on %s, process %d", filepath.Base(r.program), host, os.Getpid()), "")
	return strings.ToValidUTF8(text[:min(len(text), most)], "")
}

// ask waits for the lock. If a daemon stops, it has not granted the lock, so the rest of the
// wait goes to another daemon.
func (r *lockRun) ask(ctx context.Context) (*lockLease, error) {
	var g api.Lease
	began := boottime()
	for wait := r.wait; ; wait = max(r.wait-(boottime()-began), 0) {
		body, err := json.Marshal(map[string]any{"ttl": r.ttl.String(), "wait": wait.String(), "shared": r.shared, "client": r.self()})
		if err != nil {
			return nil, ours(err)
		}
		patient := *r.Client
		patient.Timeout += wait
		err = patient.Do(ctx, "POST", client.KeyPath("/v1/locks/", r.name), nil, body, nil, &g)
		if err == nil {
			break
		}
		if r.Pool.Size() == 1 || !client.Stopping(err) {
			return nil, r.unheld(err)
		}
	}
	lease := &lockLease{&heldLease{Client: r.Bearer(), method: "PUT", path: client.KeyPath("/v1/locks/", r.name), ttl: r.ttl}, r.name, g.Token}
	var err error
	if lease.proof, err = json.Marshal(map[string]string{"lease": g.Lease}); err != nil {
		return nil, ours(err)
	}
	// The remaining time was measured at the end of a wait, at a moment that is not known here.
	if err := lease.renew(ctx); err != nil {
		lease.release(ctx)
		return nil, r.unheld(err)
	}
	if g.Guarantee == lockservice.ThisPeer.String() {
		status.WarnAlone(ctx, r.Client)
	}
	return lease, nil
}

// unheld returns the failure to get the lock, with its exit code.
func (r *lockRun) unheld(err error) error {
	if refused, ok := errors.AsType[*client.Refusal](err); ok && refused.Code == "held" {
		return command.Exit(ExitWaited, err)
	}
	return ours(err)
}

// passed returns the command's exit code without a message: the command has printed its own.
func passed(cmd *exec.Cmd, err error) error {
	if cmd.ProcessState == nil {
		return ours(err)
	}
	if code := exitCode(cmd.ProcessState); code != 0 {
		return command.Exit(code, command.ErrShown)
	}
	return nil
}
