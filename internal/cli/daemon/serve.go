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

// defaultGossip is where peers meet.
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
		Long: `Run a peer until SIGTERM or SIGINT, which hand its writes to the others first.

Flags go before environment (SENTINEL_BATCH_INTERVAL for --batch-interval), and
that before the file of --config: YAML with flag names as keys. SIGHUP reads that
file again and puts its voters in force, and it reads keys, tokens and certificate again.`,
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

// flags are the daemon's settings.
func (d *daemon) flags(f *pflag.FlagSet) {
	f.StringVar(&d.config, "config", os.Getenv("SENTINEL_CONFIG"), "YAML file with more settings")
	f.StringVar(&d.cluster, "cluster", "", "name of the cluster (required)")
	f.StringVar(&d.name, "name", "", "name of this peer, unique (default: the host's name)")
	f.StringVar(&d.bind, "bind", defaultGossip, "address for other peers, of port 7946 if it names none; beyond loopback it needs --key-file")
	f.StringVar(&d.advertise, "advertise", "", "address that other peers reach this one at, if it is not --bind; of the port of that if it names none")
	f.StringVar(&d.http, "http", client.DefaultHTTP, "address of the HTTP API; beyond loopback it needs --token-file, and TLS")
	d.serve.flags(f)
	f.StringSliceVar(&d.join, "join", nil, "address of a peer to join; may be repeated")
	f.DurationVar(&d.batch, "batch-interval", 100*time.Millisecond, "how long a write may wait for company; 0 sends each at once")
	f.DurationVar(&d.heartbeat, "heartbeat-interval", 0, "how often the worker of this peer's name beats by itself, such as 5s; 0: this peer is no worker")
	f.DurationVar(&d.ttl, "default-ttl", time.Hour, "of what workers say of themselves, once they beat no more; 0 keeps it")
	f.StringVar(&d.keyFile, "key-file", "", "file with one key a line, see keygen: the first seals, all open; SIGHUP reads it again")
	f.StringArrayVar(&d.rules, "rule", nil, "type of keys by pattern, such as 'tags/{a,b}/**=set'; may be repeated, in the environment one a line")
	f.DurationVar(&d.drain, "drain", 10*time.Second, "how long to wait for others when stopping")
	f.StringVar(&d.logLevel, "log-level", "info", "debug, info, warn or error")
	f.StringSliceVar(&d.voters, "voters", nil, "names of the 1 to 7 peers that certify locks, the same on every peer (default: this one, for locks of its own)")
	f.Uint64Var(&d.epoch, "voters-epoch", 1, "counts the changes of --voters")
	f.BoolVar(&d.firstBoot, "first-boot", false, "no earlier life of this voter can have certified a lock that is still held: do not wait for it")
	f.BoolVar(&d.bestEffort, "best-effort-locks", false, "no named voters: two sides of a cut can both hold a lock")
	f.DurationVar(&d.maxTTL, "max-ttl", 15*time.Second, "the longest TTL of a lock, the same on every peer")
	f.StringVar(&d.stateDir, "state-dir", "", "folder for the few bytes that outlive this peer, or none (default: by cluster and name, below $STATE_DIRECTORY, $XDG_STATE_HOME or ~/.local/state)")
	f.Var(&d.maxMemory, "max-memory", "what the store may fill, as in 512MiB, before writes that add to it are refused; 0 for half of what the control group or the machine allows")
	f.StringVar(&d.mcpMemory, "mcp-memory", "2", "whose names the MCP tools of memory have: 2 or 3, those of claude-flow 2.x (memory_usage) or 3.x (memory_store, …), or both")
	f.BoolVar(&d.dev, "dev", false, "for a try: on loopback, with a name, free ports and a folder for state made up, and each write sent at once; more of them find each other")
	f.BoolVar(&d.faults, "dev-faults", false, "serve fault injection, for development on loopback only")
	f.VisitAll(command.NeverBlank)
}

// within returns what run does. If run has not ended by --drain and a moment after ctx, it
// is left behind: a disk that hangs keeps nobody from stopping the daemon.
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
	l, err := httpapi.Listen(d.http, access.open) // first, for the others are told its address
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

// announceStart tells systemd of the start: at once, or, at a voter that has come back, when
// another may be stopped.
func announceStart(logger *slog.Logger, a *agent.Agent) *time.Timer {
	left := a.Locks().Returning()
	if left > 0 {
		logger.Info("this voter has come back: no other voter should be stopped before it knows all leases", "for", left.Round(time.Second))
		notify(fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d\nSTATUS=serving; does not know all leases yet", (left + 10*time.Second).Microseconds()))
	}
	return time.AfterFunc(left, func() { notify("READY=1") })
}

// stop ends the daemon within its drain: half of it is for requests under way, so that
// what they wrote can still reach the others. Who had not acknowledged by then is a
// warning: they may be down, and the stop was as orderly as it could be.
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
		logger.Warn("not every peer has acknowledged what was written here", "have", lacking.Have, "missing", strings.Join(lacking.Missing, ", "))
		return nil
	}
	return err
}
