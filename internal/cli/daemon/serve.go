package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/gossip"
	"github.com/sentinel-peer/sentinel-peer/internal/api"
	"github.com/sentinel-peer/sentinel-peer/internal/aside"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/client"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/command"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/console"
	"github.com/sentinel-peer/sentinel-peer/internal/dashboard"
	"github.com/sentinel-peer/sentinel-peer/internal/hostmem"
	"github.com/sentinel-peer/sentinel-peer/internal/httpapi"
	"github.com/sentinel-peer/sentinel-peer/internal/mcpserver"
	"github.com/sentinel-peer/sentinel-peer/internal/metrics"
)

// defaultGossip is the address for other peers unless --bind names another.
const defaultGossip = "127.0.0.1:7946"

// daemon holds the flags of the agent command.
type daemon struct {
	version, config, cluster, name, bind, advertise, http, keyFile, logLevel string
	join, rules                                                              []string
	batch, drain, heartbeat, ttl                                             time.Duration
	dev, faults                                                              bool
	mcpMemory                                                                string
	maxMemory                                                                memorySize
	serve                                                                    endpoint

	voters                []string
	epoch                 uint64
	stateDir              string
	maxTTL                time.Duration
	firstBoot, bestEffort bool
}

func newAgent(version string) *cobra.Command {
	d := daemon{version: version}
	cmd := &cobra.Command{
		Use:   "agent",
		Short: "Run a peer",
		Long: `Run a peer until SIGTERM or SIGINT. On these signals it first passes its writes on to
		the other peers.

		Flags override the environment (SENTINEL_BATCH_INTERVAL for --batch-interval), which
		overrides the file of --config: YAML with flag names as keys. On SIGHUP the peer reads
		keys, tokens, certificate and that file again, and applies the file's voters.`,
		Example: `  sentinel-peer agent --dev
  sentinel-peer agent --cluster farm --name n1 --bind 127.0.0.1:7946
  sentinel-peer agent --cluster farm --name n2 --bind 127.0.0.1:7947 --http 127.0.0.1:7701 --join 127.0.0.1:7946
  sentinel-peer agent --cluster farm --name n3 --voters n1,n2,n3 --join n1.local:7946 --bind 10.0.0.3:7946 --key-file key`,
		Args: command.Args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			origins, err := settleDaemon(cmd.Context(), cmd.Flags(), d.config)
			if err != nil {
				return err
			}
			command.WarnOfStrays(cmd.Root())
			d.complete()
			if d.dev {
				end, err := d.develop(cmd.Context(), origins)
				if err != nil {
					return err
				}
				defer end()
			}
			return d.within(cmd.Context(), func() error { return d.run(cmd) })
		},
	}
	d.flags(cmd.Flags())
	return cmd
}

// flags defines the daemon's settings.
func (d *daemon) flags(f *pflag.FlagSet) {
	f.StringVar(&d.config, "config", os.Getenv("SENTINEL_CONFIG"), "YAML file with more settings")
	f.StringVar(&d.cluster, "cluster", "", "name of the cluster (required)")
	f.StringVar(&d.name, "name", "", "name of this peer, unique in the cluster (default: the host's name)")
	f.StringVar(&d.bind, "bind", defaultGossip, "address to listen on for other peers, with port 7946 if it names none; beyond loopback it needs --key-file")
	f.StringVar(&d.advertise, "advertise", "", "address at which other peers reach this one, if it is not that of --bind; with the port of --bind if it names none")
	f.StringVar(&d.http, "http", client.DefaultHTTP, "address of the HTTP API; beyond loopback it needs --token-file, and TLS")
	d.serve.flags(f)
	f.StringSliceVar(&d.join, "join", nil, "address of a peer to join; may be repeated")
	f.DurationVar(&d.batch, "batch-interval", 100*time.Millisecond, "how long a write may wait for others to be sent with; 0 sends each write at once")
	f.DurationVar(&d.heartbeat, "heartbeat-interval", 0, "how often this daemon sends heartbeats for the worker of its own name, such as 5s; 0 if this peer is no worker")
	f.DurationVar(&d.ttl, "default-ttl", time.Hour, "how long a worker's records are kept after its last heartbeat; 0 keeps them for ever")
	f.StringVar(&d.keyFile, "key-file", "", "file with one key a line (see keygen): the first seals, each of them opens; SIGHUP reads it again")
	f.StringArrayVar(&d.rules, "rule", nil, "type of the keys that match a pattern, such as 'tags/{a,b}/**=set'; may be repeated, one a line in the environment")
	f.DurationVar(&d.drain, "drain", 10*time.Second, "how long to wait, when stopping, until other peers have this peer's writes")
	f.StringVar(&d.logLevel, "log-level", "info", "least level of log messages: debug, info, warn or error")
	f.StringSliceVar(&d.voters, "voters", nil, "names of the 1 to 7 peers that certify locks, the same on every peer (default: this peer alone, for locks of its own)")
	f.Uint64Var(&d.epoch, "voters-epoch", 1, "number of this list of --voters; add 1 with each change of the list")
	f.BoolVar(&d.firstBoot, "first-boot", false, "this voter cannot have certified a lock before this start that is still held, so do not wait for such locks to end")
	f.BoolVar(&d.bestEffort, "best-effort-locks", false, "without --voters, all peers that are up share locks; the two sides of a partition can both hold a lock")
	f.DurationVar(&d.maxTTL, "max-ttl", 15*time.Second, "longest TTL of a lock, the same on every peer")
	f.StringVar(&d.stateDir, "state-dir", "", "folder for the few bytes that must outlive this peer, or none (default: by cluster and name, below $STATE_DIRECTORY, $XDG_STATE_HOME or ~/.local/state)")
	f.Var(&d.maxMemory, "max-memory", "bytes that the store may fill, as in 512MiB, before writes that add to it are refused; 0 for half of what the control group or the machine allows")
	f.StringVar(&d.mcpMemory, "mcp-memory", "2", "names of the MCP tools for memory: 2 for those of claude-flow 2.x (memory_usage), 3 for those of 3.x (memory_store, …), or both")
	f.BoolVar(&d.dev, "dev", false, "for trying out: on loopback, with a generated name, free ports and a temporary folder for state; writes are sent at once; several such peers find each other")
	f.BoolVar(&d.faults, "dev-faults", false, "serve fault injection, for development on loopback only")
	f.VisitAll(command.NeverBlank)
}

// within returns the result of run. If run has not ended by --drain and a moment after the end
// of ctx, it is left behind, so that a disk that hangs does not keep the daemon from stopping.
func (d *daemon) within(ctx context.Context, run func() error) error {
	ended := make(chan error, 1)
	go func() { ended <- run() }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	late := time.NewTimer(d.drain + aside.Patience)
	defer late.Stop()
	select {
	case err := <-ended:
		return err
	case <-late.C:
		return fmt.Errorf("the stop was not done within --drain %v: perhaps a disk does not answer", d.drain)
	}
}

func (d *daemon) run(cmd *cobra.Command) error {
	ctx := cmd.Context()
	console.OutliveReaders()
	console.Stdout.Outlive()
	c, err := d.check(ctx)
	if err != nil {
		return command.Usage(err)
	}
	logger := c.logger
	if d.name == "" {
		d.name, _ = os.Hostname()
	}
	if d.batch == 0 {
		d.batch = gossip.AtOnce
	}
	if d.heartbeat == 0 {
		d.heartbeat = agent.Manual
	}
	if d.ttl == 0 {
		d.ttl = agent.Never
	}
	limitHeap(logger, hostmem.Read().Group)
	reloader, err := newReloader(cmd, d, c)
	if err != nil {
		return err
	}
	again := make(chan os.Signal, 1)
	signal.Notify(again, syscall.SIGHUP)
	defer signal.Stop(again)
	state, unlock, err := d.openState(logger)
	if err != nil {
		return command.Usage(err)
	}
	defer unlock()
	access := c.access
	l, err := httpapi.Listen(d.http, access.open) // before the agent, which announces the address to its peers
	if err != nil {
		return command.Usage(explained(fmt.Errorf("--http %s: %w", d.http, err), "--http"))
	}
	a, err := agent.Open(ctx, agent.Config{
		Name: d.name, Cluster: d.cluster, Bind: d.bind, Advertise: d.advertise, Seeds: d.join, Keys: c.keys,
		HTTP: l.Addr().String(), Rules: c.rules, BatchInterval: d.batch, HeartbeatInterval: d.heartbeat, DefaultTTL: d.ttl, MaxBytes: int(d.maxMemory), Logger: logger, Faults: d.faults,
		Locks: agent.LockConfig{Voters: d.voters, Epoch: d.epoch, FirstBoot: d.firstBoot, StateDir: state, MaxTTL: d.maxTTL, BestEffort: d.bestEffort},
	})
	if err != nil {
		return errors.Join(command.Usage(explained(err, "--bind")), l.Close())
	}
	if d.dev {
		d.found(a)
	}
	m := metrics.New(a, d.version)
	leases, reloads := api.NewLeases(), &api.Reloads{}
	tools := mcpserver.New(mcpserver.Config{Agent: a, Leases: leases, Reloads: reloads, Version: d.version, Memory: mcpserver.Memory(d.mcpMemory), Called: m.ToolCalled, Panicked: m.Panics.Inc, Logger: logger})
	ui := dashboard.New(ctx, dashboard.Config{Agent: a, Leases: leases, Reloads: reloads, Version: d.version})
	mounts := map[string]http.Handler{"/mcp": tools, "/": ui, "/ui/": ui}
	public := map[string]http.Handler{"GET /login": ui, "GET /ui/static/": ui}
	server := httpapi.Serve(l, httpapi.Config{
		Agent: a, Leases: leases, Reloads: reloads, Metrics: m, Panicked: m.Panics.Inc, Logger: logger, Faults: d.faults,
		Mounts: mounts, Public: public,
		Tokens: access.tokens, Certificate: access.certificate, Hosts: d.serve.names(d.http), Limits: httpapi.Limits{Rate: d.serve.rate},
	})
	m.HTTP(server.Stats)
	m.LogLost(console.Stderr.Lost)
	reloader.done = func(what string, err error) {
		m.Reloaded(what, err == nil)
		reloads.Done(what, err)
	}
	started := announceStart(logger, a)
	var announcing sync.WaitGroup
	defer announcing.Wait()
	if d.dev {
		announcing.Go(func() { d.announce(ctx, cmd.OutOrStdout(), a, l.Addr().String()) })
	}
	logger.Info("serving", "http", l.Addr().String(), "gossip", a.Addr(), "version", d.version)
	reloader.serve(ctx, again, a)
	logger.Info("stopping")
	started.Stop()
	notify("STOPPING=1")
	return d.stop(logger, tools, server, a)
}

// announceStart reports the start to systemd. A voter that has come back reports it only when
// another voter may be stopped; any other peer reports it at once.
func announceStart(logger *slog.Logger, a *agent.Agent) *time.Timer {
	left := a.Locks().Returning()
	if left > 0 {
		logger.Info("this voter has come back: do not stop another voter before it knows all leases", "for", left.Round(time.Second))
		notify(fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d\nSTATUS=serving; does not know all leases yet", (left + 10*time.Second).Microseconds()))
	}
	return time.AfterFunc(left, func() { notify("READY=1") })
}

// stop ends the daemon within its drain time. Half of that time is for requests under way, so
// that their writes can still reach other peers in the other half. Peers that have not
// acknowledged by then are a warning only: they may be down, and no stop could wait for them.
func (d *daemon) stop(logger *slog.Logger, tools *mcpserver.Server, server *httpapi.Server, a *agent.Agent) error {
	ctx, cancel := context.WithTimeout(context.Background(), d.drain)
	defer cancel()
	requests, done := context.WithTimeout(ctx, d.drain/2)
	defer done()
	if err := errors.Join(tools.Close(requests), server.Close(requests)); err != nil {
		logger.Warn("requests under way were cut off", "err", err)
	}
	err := a.Close(ctx)
	if lacking, ok := errors.AsType[*agent.ReplicationError](err); ok {
		logger.Warn("not every peer has acknowledged the writes of this one", "have", lacking.Have, "missing", strings.Join(lacking.Missing, ", "))
		return nil
	}
	return err
}
