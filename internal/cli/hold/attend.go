package hold

import (
	"context"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"time"

	"github.com/sentinel-peer/sentinel-peer/internal/cli/console"
)

// heed returns the signals that are for the command: not those that whoever started this
// program has it ignore, as nohup does.
func heed() chan os.Signal {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, slices.DeleteFunc(slices.Clone(forwarded), signal.Ignored)...)
	return signals
}

// attended runs a command for as long as a lease is held.
type attended struct {
	what     string // is leased
	grace    time.Duration
	lease    *heldLease
	terminal bool // the command gets it

	told os.Signal // the last that was passed on
}

// run starts cmd, keeps the lease and passes signals on until cmd ends. If the lease is
// lost, it ends the command's process group, and says why. An err means that nothing ran.
func (a *attended) run(ctx context.Context, cmd *exec.Cmd, signals <-chan os.Signal) (exit, lost, err error) {
	group, err := startGroup(cmd, a.terminal)
	if err != nil {
		return nil, nil, err
	}
	defer group.close()
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	keeping, stop := context.WithCancel(ctx)
	defer stop()
	over := make(chan error, 1)
	kept := make(chan struct{})
	go func() {
		defer close(kept)
		if err := a.lease.keep(keeping); err != nil {
			over <- err
		}
	}()
	var kill <-chan time.Time
	for {
		select {
		case a.told = <-signals:
			group.signal(a.told)
		case lost = <-over:
			console.Tell("%s lost, ending the command: %v", a.what, lost)
			group.terminate()
			kill = time.After(a.grace)
		case <-kill:
			group.kill()
		case exit := <-ended:
			stop()
			<-kept
			if lost != nil {
				group.kill() // what it left behind
			}
			return exit, lost, nil
		}
	}
}
