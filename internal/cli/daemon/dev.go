package daemon

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/gossip/transport"
	"github.com/sentinel-peer/sentinel-peer/internal/aside"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/client"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/command"
)

// devSettings are the settings of --dev.
var devSettings = []struct{ flag, value string }{
	{"cluster", "dev"}, {"batch-interval", "0"}, {"log-level", "warn"}, {"first-boot", "true"},
	{"best-effort-locks", "true"}, // only without --voters; then the peers that are up share locks and queues
}

// settleDaemon settles the daemon's flags. With --dev, those that nobody has set get the value
// of devSettings.
func settleDaemon(ctx context.Context, flags *pflag.FlagSet, file string) (origins map[string]string, err error) {
	if origins, err = command.SettleFlags(ctx, flags, file); err != nil || flags.Lookup("dev").Value.String() != "true" {
		return origins, err
	}
	for _, s := range devSettings {
		if origins[s.flag] != "default" || s.flag == "best-effort-locks" && origins["voters"] != "default" {
			continue
		}
		if err := flags.Lookup(s.flag).Value.Set(s.value); err != nil {
			return nil, err
		}
		origins[s.flag] = "--dev"
	}
	return origins, nil
}

// develop chooses what --dev and its settings leave open: free addresses, a name, and a folder
// for state, which end removes. It joins the peers of --dev that already run. It changes only
// settings that have their default value.
func (d *daemon) develop(ctx context.Context, origins map[string]string) (end func(), err error) {
	for _, addr := range []string{d.bind, d.http} {
		if host, _, err := net.SplitHostPort(addr); err == nil && !client.IsLoopback(host) {
			return nil, command.Usage(fmt.Errorf("--dev keeps everything on loopback, but %s is not on loopback", addr))
		}
	}
	open := func(flag string) bool { return origins[flag] == "default" }
	found := devPeers(ctx)
	if open("bind") && (listen("tcp", d.bind) != nil || listen("udp", d.bind) != nil) {
		found = append(found, d.bind)
		d.bind = "127.0.0.1:0"
	}
	if open("join") {
		for _, addr := range found {
			if !slices.Contains(d.join, addr) && d.meets(ctx, addr) {
				d.join = append(d.join, addr)
			}
		}
	}
	if open("http") && listen("tcp", d.http) != nil {
		d.http = "127.0.0.1:0"
	}
	d.name = cmp.Or(d.name, fmt.Sprintf("dev-%d", os.Getpid()))
	end = func() {}
	if open("state-dir") {
		if d.stateDir, err = os.MkdirTemp("", devFolder); err != nil {
			return nil, err
		}
		end = func() { os.RemoveAll(d.stateDir) }
	}
	return end, nil
}

const (
	devFolder  = "sentinel-peer-dev-" // the folder for the state of one peer; a number follows
	devAddress = "gossip"             // the file in that folder with the peer's address
)

// devPeers returns the addresses of the --dev peers that this user has started. The peer at the
// usual port may be missing from them.
func devPeers(ctx context.Context) []string {
	files, _ := filepath.Glob(filepath.Join(os.TempDir(), devFolder+"*", devAddress)) // the pattern is valid
	var found []string
	for _, file := range files {
		if addr, err := aside.ReadFile(ctx, file); err == nil {
			found = append(found, string(addr.Text))
		}
	}
	return found
}

// meets reports whether a peer of this daemon's cluster listens at an address.
func (d *daemon) meets(ctx context.Context, addr string) bool {
	brief, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	return transport.Probe(brief, addr, d.cluster, nil) == nil
}

// found makes this peer known to peers of --dev that start later.
func (d *daemon) found(a *agent.Agent) {
	if _, made, _ := strings.Cut(filepath.Base(d.stateDir), devFolder); made != "" {
		_ = os.WriteFile(filepath.Join(d.stateDir, devAddress), []byte(a.Addr()), 0o600) // if it fails, they do not join this peer
	}
}

// announce prints where the peer is, once it is ready.
func (d *daemon) announce(ctx context.Context, out io.Writer, a *agent.Agent, http string) {
	if a.WaitReady(ctx) != nil && !a.Ready() {
		return
	}
	fmt.Fprintf(out, "ready: peer %s of cluster %s at http://%s\n", a.Name(), d.cluster, http)
	if len(d.join) > 0 {
		fmt.Fprintf(out, "joined the peer at %s\n", d.join[0])
	}
	at := ""
	if http != client.DefaultHTTP {
		at = " --http " + http
	}
	fmt.Fprintf(out, "try:   sentinel-peer put greeting hello%s\n       sentinel-peer watch --snapshot%s\n", at, at)
}
