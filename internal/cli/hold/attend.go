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

// heed returns a channel of the signals that are passed on to the command. It leaves out those
// that this program was started to ignore, as nohup does.
func heed() chan os.Signal {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, slices.DeleteFunc(slices.Clone(forwarded), signal.Ignored)...)
	return signals
}

// attended runs a command for as long as a lease is held.
type attended struct {
	what     string // what is leased, for messages
	grace    time.Duration
	lease    *heldLease
	terminal bool // the command gets the terminal

	told os.Signal // the last signal that was passed on
}

// run starts cmd, keeps the lease and passes signals on until cmd ends. If the lease is lost, it
// ends the command's process group and returns why in lost. An err means that nothing ran.
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
				group.kill() // processes that the command left behind
			}
			return exit, lost, nil
		}
	}
}
