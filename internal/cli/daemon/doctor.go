package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sentinel-peer/sentinel-peer/gossip/transport"
	"github.com/sentinel-peer/sentinel-peer/internal/api"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/client"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/command"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/console"
	"github.com/sentinel-peer/sentinel-peer/internal/verdict"
)

// finding is one row of the doctor's report.
type finding struct {
	Check   string `json:"check"`
	Verdict string `json:"verdict"` // ok, warn or fail
	Detail  string `json:"detail"`
	Advice  string `json:"advice,omitempty"`
}

// doctor examines one machine as a daemon with these settings would find it.
type doctor struct {
	daemon
	client.Client
	keys     [][]byte
	answers  bool        // something answers at the daemon's HTTP address
	running  *api.Member // the peer of the daemon that runs here; nil if none does
	peers    []api.Member
	findings []finding
}

const doctorPatience = 3 * time.Second // the time limit of any one question

func newDoctor() *cobra.Command {
	var d doctor
	cmd := &cobra.Command{
		Use: "doctor [flags of agent]", Short: "Look for what keeps a peer from working; exit 8 if something does",
		Long: `Look, with the settings of 'agent', for what keeps a peer from working: the settings and
		the key, the folder for state, the ports, the peers to join, and whether UDP passes to them
		and back. If a daemon runs here, its verdict on the cluster follows, the same as that of
		'status'. Each row says what to do.`,
		Example: "  sentinel-peer doctor --config /etc/sentinel-peer.yaml\n  sentinel-peer doctor --cluster farm --key-file key --join n1.local:7946",
		Args:    command.Args(cobra.NoArgs),
	}
	f := cmd.Flags()
	d.flags(f)
	f.StringVarP(&d.Output, "output", "o", "table", "format of the output: table, json or ndjson")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if _, err := settleDaemon(cmd.Context(), cmd.Flags(), d.config); err != nil {
			return err
		}
		command.WarnOfStrays(cmd.Root())
		d.complete()
		if d.Output != "table" && d.Output != "json" && d.Output != "ndjson" {
			return command.Usage(fmt.Errorf("-o %q: want table, json or ndjson", d.Output))
		}
		d.Out, d.Timeout = cmd.OutOrStdout(), doctorPatience
		if err := d.approach(cmd.Context()); err != nil {
			return err
		}
		d.examine(cmd.Context())
		return d.report()
	}
	return cmd
}

func (d *doctor) add(verdict, check, advice, format string, args ...any) {
	d.findings = append(d.findings, finding{check, verdict, fmt.Sprintf(format, args...), advice})
}

func (d *doctor) examine(ctx context.Context) {
	d.meet(ctx)
	d.settings(ctx)
	d.access(ctx)
	d.state()
	d.listens()
	for _, seed := range d.join {
		d.seed(ctx, seed)
	}
	if d.running != nil {
		d.fleet(ctx)
	}
}

func (d *doctor) settings(ctx context.Context) {
	switch {
	case d.cluster == "" && d.answers:
		d.add("warn", "settings", "name it with --cluster, which the checks below need", "no cluster is named, and the daemon at %s does not report its own", d.Addr)
	case d.cluster == "":
		d.add("fail", "settings", "name it with --cluster, with $SENTINEL_CLUSTER or in the file of --config", "no cluster is named")
	default:
		d.add("ok", "settings", "", "cluster %q", d.cluster)
	}
	if _, err := parseRules(d.rules); err != nil {
		d.add("fail", "settings", "correct the rule", "%v", err)
	}
	_, err := parseLevel(d.logLevel)
	if err != nil {
		d.add("fail", "settings", "correct the level", "%v", err)
	}
	host, _, _ := net.SplitHostPort(d.bind)
	switch d.keys, err = ReadKeys(ctx, d.keyFile); {
	case err != nil:
		d.add("fail", "key", keyAdvice(err), "%v", err)
	case d.keyFile == "" && !client.IsLoopback(host):
		d.add("fail", "key", "make one with 'sentinel-peer keygen FILE' and give it to every peer as --key-file", "--bind %s is beyond loopback, and there is no --key-file", d.bind)
	case d.keyFile == "":
		d.add("ok", "key", "", "there is none, and none is needed on loopback")
	default:
		d.keyMode()
	}
}

// keyAdvice returns what to do about a key file that cannot be read.
func keyAdvice(err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "copy the file of a peer that runs; for a new cluster, make one with 'sentinel-peer keygen FILE'"
	case errors.Is(err, fs.ErrPermission):
		return "give the file to the user that the daemon runs as, or run the doctor as that user"
	}
	return "put the keys there that the other peers have: with a new key, this peer could not talk to them"
}

// keyMode checks which users may read the key.
func (d *doctor) keyMode() {
	stat, err := os.Stat(d.keyFile)
	if err == nil && runtime.GOOS != "windows" && stat.Mode().Perm()&0o077 != 0 {
		d.add("warn", "key", "chmod 600 "+d.keyFile, "other users than the owner may read %s", d.keyFile)
		return
	}
	ids, err := transport.KeyIDs(d.cluster, d.keys)
	if err != nil {
		d.add("fail", "key", "make one with 'sentinel-peer keygen FILE'", "%v", err)
		return
	}
	d.add("ok", "key", "", "%d in %s: %s", len(d.keys), d.keyFile, strings.Join(ids, ", "))
}

func (d *doctor) state() {
	dir := d.stateDir
	var err error
	if dir == noState {
		d.add("warn", "state", "name a folder with --state-dir", "nothing is kept: after a restart, a voter is silent for --max-ttl")
		return
	}
	if d.dev && dir == "" {
		dir = os.TempDir() // the daemon creates a folder there
	}
	if dir == "" {
		name, _ := os.Hostname()
		dir, err = defaultState(d.cluster, cmp.Or(d.name, name))
	}
	var probe *os.File
	if err == nil {
		if probe, err = os.CreateTemp(existing(dir), "doctor-"); err != nil {
			reason, _ := errors.AsType[*fs.PathError](err)
			err = fmt.Errorf("%s cannot be written: %w", dir, reason.Err)
		}
	}
	const advice = "name a folder with --state-dir that this user may write"
	switch {
	case err != nil && d.stateDir == "":
		d.add("warn", "state", advice, "%v: the daemon runs without it, and as a voter is silent for --max-ttl after a restart", err)
		return
	case err != nil:
		d.add("fail", "state", advice, "%v", err)
		return
	}
	probe.Close()
	os.Remove(probe.Name())
	d.add("ok", "state", "", "%s can be written", dir)
}

// existing returns dir, or the nearest folder above it that exists, in which dir can be created.
func existing(dir string) string {
	for dir != filepath.Dir(dir) {
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
			break
		}
		dir = filepath.Dir(dir)
	}
	return dir
}

// seed checks each address that a seed resolves to.
func (d *doctor) seed(ctx context.Context, seed string) {
	host, port, err := net.SplitHostPort(seed)
	if err != nil {
		host = strings.Trim(seed, "[]")
		_, port, _ = net.SplitHostPort(d.bind)
	}
	brief, cancel := context.WithTimeout(ctx, doctorPatience)
	defer cancel()
	addrs, err := net.DefaultResolver.LookupHost(brief, host)
	if err != nil {
		d.add("fail", "join", "correct the name, or the name server's records", "%s: %v", seed, err)
		return
	}
	for _, ip := range addrs {
		d.peer(ctx, net.JoinHostPort(ip, port))
	}
}

// peer checks whether the peer at an address would accept this one, and whether UDP passes.
func (d *doctor) peer(ctx context.Context, addr string) {
	if d.running == nil && (addr == d.bind || addr == d.advertise) && listen("tcp", d.bind) == nil {
		d.add("ok", "join", "", "%s is the address of this peer itself", addr)
		return
	}
	brief, cancel := context.WithTimeout(ctx, doctorPatience)
	defer cancel()
	switch err := transport.Probe(brief, addr, d.cluster, d.keys); {
	case err == nil:
		d.add("ok", "join", "", "%s would accept this peer", addr)
		if d.running == nil { // a running daemon knows better, and has the port
			d.packets(ctx, addr)
		}
	case isNetwork(err):
		d.add("fail", "join", "check that a peer is up there, that TCP is open, and that its --bind is reachable from here", "%s: %v", addr, err)
	default:
		d.add("fail", "join", "use the same --cluster, --key-file and version on every peer", "%s: %v", addr, err)
	}
}

// packets checks whether UDP passes to a peer and back, from the address of the daemon.
func (d *doctor) packets(ctx context.Context, addr string) {
	c := transport.Config{Cluster: d.cluster, Keys: d.keys, Bind: d.bind, Advertise: d.advertise}
	if listen("udp", d.bind) != nil { // the row "ports" says why
		host, _, _ := net.SplitHostPort(d.bind)
		c.Bind, c.Advertise = net.JoinHostPort(host, "0"), ""
	}
	_, port, _ := net.SplitHostPort(addr)
	const carried = "; until then TCP carries everything"
	switch err := transport.ProbePackets(ctx, addr, c); {
	case err == nil:
		d.add("ok", "udp", "", "packets pass to %s and back", addr)
	case errors.Is(err, transport.ErrOnlyAnswers):
		d.add("warn", "udp", "open the port of --bind "+d.bind+" for UDP here, for packets that peers send first"+carried, "%s: %v", addr, err)
	default:
		d.add("warn", "udp", "open port "+port+" for UDP there, and the way back"+carried, "%s: %v", addr, err)
	}
}

func isNetwork(err error) bool {
	_, network := errors.AsType[net.Error](err)
	return network || errors.Is(err, io.EOF)
}

// fleet adds the running daemon's verdict on the cluster, which status shows too.
func (d *doctor) fleet(ctx context.Context) {
	var v verdict.Verdict
	if err := d.Do(ctx, "GET", "/v1/verdict", nil, nil, nil, &v); err != nil {
		d.add("fail", "cluster", "look at the daemon's log", "the daemon at %s gives no verdict: %v", d.Addr, err)
		return
	}
	d.add("ok", "cluster", "", "%s", v.Summary)
	d.findings[len(d.findings)-1].Verdict = string(v.Level)
	for _, f := range v.Findings {
		d.add(string(f.Level), f.Check, f.Next, "%s: %s", f.What, f.Why)
	}
}

func (d *doctor) report() error {
	failed := 0
	for _, f := range d.findings {
		if f.Verdict == "fail" {
			failed++
		}
	}
	var err error
	if d.Output == "ndjson" {
		for _, f := range d.findings {
			err = errors.Join(err, d.Show(f, "", nil))
		}
	} else {
		err = d.Show(d.findings, "VERDICT\tCHECK\tWHAT\tWHAT TO DO", func(t console.Table) {
			for _, f := range d.findings {
				t.Row(f.Verdict, f.Check, f.Detail, cmp.Or(f.Advice, "-"))
			}
		})
	}
	if err == nil && failed > 0 {
		err = command.Unhealthy(fmt.Errorf("%d of %d checks failed", failed, len(d.findings)))
	}
	return err
}
