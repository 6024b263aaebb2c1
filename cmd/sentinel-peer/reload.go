package main

import (
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/lockservice"
)

// reloader reads the file of --config again on SIGHUP. It puts the voters in force;
// what else has changed there, it names.
type reloader struct {
	flags  *pflag.FlagSet // the daemon's
	file   string
	values map[string][]string // of the file when the daemon started
	voters lockservice.Voters  // in force
	log    *slog.Logger
}

func newReloader(cmd *cobra.Command, d *daemon, logger *slog.Logger) (*reloader, error) {
	values, err := readFile(cmd.Flags(), d.config)
	if err != nil {
		return nil, err
	}
	return &reloader{cmd.Flags(), d.config, values, lockservice.Voters{Epoch: d.epoch, Names: d.voters}, logger}, nil
}

// reload reads the file again. What is refused changes nothing, and is told.
func (r *reloader) reload(a *agent.Agent) {
	if r.file == "" {
		r.log.Warn("nothing to reload: there is no --config")
		return
	}
	values, err := readFile(r.flags, r.file)
	if err != nil {
		r.log.Warn("not reloaded", "err", err)
		return
	}
	if err := r.reloadVoters(a, values); err != nil {
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
}

func (r *reloader) reloadVoters(a *agent.Agent, values map[string][]string) error {
	var v lockservice.Voters
	f := pflag.NewFlagSet("", pflag.ContinueOnError)
	f.StringSliceVar(&v.Names, "voters", nil, "")
	f.Uint64Var(&v.Epoch, "voters-epoch", 1, "")
	for _, name := range []string{"voters", "voters-epoch"} {
		if err := set(f.Lookup(name).Value, values[name]); err != nil && values[name] != nil {
			return fmt.Errorf("%s: %s: %w", r.file, name, err)
		}
	}
	slices.Sort(v.Names)
	if v.Epoch == r.voters.Epoch && slices.Equal(v.Names, slices.Sorted(slices.Values(r.voters.Names))) {
		return nil
	}
	for _, name := range []string{"voters", "voters-epoch"} {
		if r.flags.Changed(name) || os.Getenv(variable(name)) != "" {
			return fmt.Errorf("the command line or the environment sets --%s, which goes before the file", name)
		}
	}
	if err := a.Locks().Reload(v); err != nil {
		return err
	}
	r.voters = v
	r.log.Info("voters reloaded", "voters", v.Names, "epoch", v.Epoch)
	return nil
}
