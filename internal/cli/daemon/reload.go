package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/internal/aside"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/command"
	"github.com/sentinel-peer/sentinel-peer/lockservice"
)

// reloader reads again on SIGHUP what the daemon read at its start: tokens, certificate, keys and
// the file of --config. Of that file it applies the voters, and names all other changes, which
// need a restart.
type reloader struct {
	flags   *pflag.FlagSet // the daemon's flags
	file    string
	keyFile string
	values  map[string][]string // the values in the file when the daemon started
	voters  lockservice.Voters  // the voters in force
	access  access
	log     *slog.Logger
	done    func(what string, err error)
}

func newReloader(cmd *cobra.Command, d *daemon, c checked) (*reloader, error) {
	values, err := command.ReadFile(cmd.Context(), cmd.Flags(), d.config)
	if err != nil {
		return nil, err
	}
	return &reloader{
		flags: cmd.Flags(), file: d.config, keyFile: d.keyFile, values: values,
		voters: lockservice.Voters{Epoch: d.epoch, Names: d.voters}, access: c.access, log: c.logger,
	}, nil
}

// serve reloads at each signal until ctx ends, which also gives up a reload under way.
func (r *reloader) serve(ctx context.Context, again <-chan os.Signal, a *agent.Agent) {
	reloads := aside.New(1) // one reload may wait beside the one under way
	defer reloads.Close(aside.Patience)
	for {
		select {
		case <-again:
			if !reloads.Do(func() { r.reload(ctx, a) }) {
				r.log.Warn("a signal to reload is dropped: one reload is under way, and the next, which waits, will read everything again")
			}
		case <-ctx.Done():
			return
		}
	}
}

// reload reads everything again. A file that is refused changes nothing, and is logged.
func (r *reloader) reload(ctx context.Context, a *agent.Agent) {
	some := r.access.reload(ctx, r.tell)
	if r.keyFile != "" {
		some = true
		r.tell("keys", r.reloadKeys(ctx, a))
	}
	if r.file != "" {
		r.tell("settings", r.reloadFile(ctx, a))
	} else if !some {
		r.log.Warn("nothing to reload: there is no --config")
	}
}

// tell records and logs the result of a reload.
func (r *reloader) tell(what string, err error) {
	r.done(what, err)
	if err != nil {
		r.log.Warn(what+" not reloaded: the old ones stay in force", "err", err)
		return
	}
	r.log.Info(what + " reloaded")
}

func (r *reloader) reloadKeys(ctx context.Context, a *agent.Agent) error {
	keys, err := ReadKeys(ctx, r.keyFile)
	if err != nil {
		return err
	}
	if err := a.SetKeys(keys); err != nil {
		return err
	}
	if names := deaf(a.Members()); names != nil {
		r.log.Warn("peers lack the key that this peer seals with now: they cannot read what it sends until that key is in their --key-file", "peers", names)
	}
	return nil
}

// deaf returns the names of the live peers that lack the key with which this peer seals.
func deaf(members []agent.Member) (names []string) {
	var seals string
	for _, m := range members {
		if m.Self && len(m.Keys) > 0 {
			seals = m.Keys[0]
		}
	}
	for _, m := range members {
		if m.State == "alive" && len(m.Keys) > 0 && !slices.Contains(m.Keys, seals) {
			names = append(names, m.Name)
		}
	}
	return names
}

func (r *reloader) reloadFile(ctx context.Context, a *agent.Agent) error {
	values, err := command.ReadFile(ctx, r.flags, r.file)
	if err != nil {
		return err
	}
	err = r.reloadVoters(a, values)
	if r.done("voters", err); err != nil {
		r.log.Warn("voters not reloaded: the old list stays", "voters", r.voters.Names, "epoch", r.voters.Epoch, "err", err)
	}
	var restart []string
	r.flags.VisitAll(func(f *pflag.Flag) {
		if !strings.HasPrefix(f.Name, "voters") && !slices.Equal(values[f.Name], r.values[f.Name]) {
			restart = append(restart, f.Name)
		}
	})
	if len(restart) > 0 {
		r.log.Warn("changed in the file, but a restart is needed", "keys", restart)
	}
	return nil
}

func (r *reloader) reloadVoters(a *agent.Agent, values map[string][]string) error {
	var v lockservice.Voters
	f := pflag.NewFlagSet("", pflag.ContinueOnError)
	f.StringSliceVar(&v.Names, "voters", nil, "")
	f.Uint64Var(&v.Epoch, "voters-epoch", 1, "")
	for _, name := range []string{"voters", "voters-epoch"} {
		if err := command.SetFlag(f.Lookup(name).Value, values[name]); err != nil && values[name] != nil {
			return fmt.Errorf("%s: %s: %w", r.file, name, err)
		}
	}
	slices.Sort(v.Names)
	if v.Epoch == r.voters.Epoch && slices.Equal(v.Names, slices.Sorted(slices.Values(r.voters.Names))) {
		return nil
	}
	for _, name := range []string{"voters", "voters-epoch"} {
		if r.flags.Changed(name) || os.Getenv(command.Variable(name)) != "" {
			return fmt.Errorf("the command line or the environment sets --%s, which overrides the file", name)
		}
	}
	if err := a.Locks().Reload(v); err != nil {
		return err
	}
	r.voters = v
	r.log.Info("voters reloaded", "voters", v.Names, "epoch", v.Epoch)
	return nil
}
