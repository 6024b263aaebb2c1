package daemon

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/sentinel-peer/sentinel-peer/internal/api"
	"github.com/sentinel-peer/sentinel-peer/internal/aside"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/client"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/command"
	"github.com/sentinel-peer/sentinel-peer/internal/httpapi"
)

// errOtherCertificate says that a daemon shows one that is not in the file.
var errOtherCertificate = errors.New("it shows another certificate than --tls-cert has: SIGHUP has it read the file again")

// approach says how to call the daemon with these settings: over TLS if they name a
// certificate, which is trusted as it is, and with a token of its file if that has one
// that is no hash.
func (d *doctor) approach(ctx context.Context) error {
	d.Addr = d.http
	if d.serve.certFile != "" && !strings.Contains(d.Addr, "://") {
		d.Addr = "https://" + client.Dialled(d.Addr)
	}
	d.PlainToken = d.serve.plain
	if err := cmp.Or(d.Prepare(ctx), d.Single()); err != nil {
		return err
	}
	d.Token = cmp.Or(d.Token, plainToken(ctx, d.serve.tokenFile))
	if err := d.SealedToken(); err != nil {
		return err
	}
	own, err := httpapi.ReadPair(ctx, d.serve.certFile, d.serve.keyFile)
	if err != nil { // access tells
		return nil
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{
		InsecureSkipVerify: true, // its name and authority are for others to check: it must be this very one
		VerifyConnection: func(s tls.ConnectionState) error {
			if !bytes.Equal(s.PeerCertificates[0].Raw, own.Certificate[0]) {
				return errOtherCertificate
			}
			return nil
		},
	}
	d.Web = &http.Client{Transport: transport}
	return nil
}

// plainToken returns the first token of a file that is not there as its hash.
func plainToken(ctx context.Context, file string) string {
	f, _ := aside.ReadFile(ctx, file) // access tells
	for line := range strings.Lines(string(f.Text)) {
		if words := strings.Fields(line); len(words) > 1 && words[0][0] != '#' && !strings.HasPrefix(words[1], "sha256:") {
			return words[1]
		}
	}
	return ""
}

// access looks who may call the daemon, and whether it may listen for them.
func (d *doctor) access(ctx context.Context) {
	a, err := d.serve.open(ctx, slog.New(slog.DiscardHandler))
	if err == nil {
		err = d.serve.reachable(client.HostPort(d.http), a)
	}
	if err != nil {
		d.add("fail", "access", "correct --http, --token-file, --tls-cert or --tls-key", "%v", err)
		return
	}
	if a.certificate == nil {
		return
	}
	own, err := httpapi.ReadPair(ctx, d.serve.certFile, d.serve.keyFile)
	if err == nil && time.Now().After(own.Leaf.NotAfter) {
		d.add("fail", "access", "renew it; SIGHUP has the daemon read the file again", "the certificate in %s ended at %s", d.serve.certFile, own.Leaf.NotAfter.Local().Format(time.DateTime))
		return
	}
	d.add("ok", "access", "", "the key and the certificate go together")
}

// meet asks the daemon that runs here.
func (d *doctor) meet(ctx context.Context) {
	var err error
	d.peers, err = d.Client.Members(ctx)
	var e *command.ExitError
	_, refused := errors.AsType[*client.Refusal](err)
	switch {
	case errors.Is(err, client.ErrSpeaksTLS), errors.Is(err, errOtherCertificate):
		d.answers = true
		d.add("warn", "daemon", "give the doctor its settings: --tls-cert and --tls-key", "%v", err)
		return
	case refused && errors.As(err, &e) && e.Code == api.ExitNotAllowed:
		d.answers = true
		d.add("warn", "daemon", "set $"+client.TokenVariable+" to a token that may ask it", "at %s: %v", d.Addr, err)
		return
	case errors.As(err, &e) && e.Code == api.ExitUnreachable:
		d.add("ok", "daemon", "", "none runs at %s", d.Addr)
		return
	case err != nil:
		d.answers = true
		d.add("warn", "daemon", "is it one of another program?", "at %s: %v", d.Addr, err)
		return
	}
	d.answers = true
	for i, m := range d.peers {
		if m.Self {
			d.running = &d.peers[i]
		}
	}
	d.compare(ctx)
	if err := d.Ready(ctx); err != nil {
		advice := "it must sync with one peer: see its log, and give the doctor its settings, for the peers to join"
		if len(d.join) > 0 {
			advice = "it must sync with one peer: see its log, and row 'join'"
		}
		if refused, ok := errors.AsType[*client.Refusal](err); ok && refused.Code == "voter-fresh" {
			advice = "wait for it before you stop another voter"
		}
		d.add("fail", "daemon", advice, "at %s: %v", d.Addr, err)
		return
	}
	d.add("ok", "daemon", "", "%s runs at %s and is ready", cmp.Or(d.running, &api.Member{}).Name, d.Addr)
}

// compare takes from the daemon what no setting says, and looks at what one does.
func (d *doctor) compare(ctx context.Context) {
	var stats struct{ Cluster string }
	if err := d.Do(ctx, "GET", "/v1/stats", nil, nil, nil, &stats); err != nil || d.running == nil {
		return // an older one, or stopping
	}
	d.cluster, d.name = cmp.Or(d.cluster, stats.Cluster), cmp.Or(d.name, d.running.Name)
	if d.cluster != stats.Cluster && stats.Cluster != "" {
		d.add("warn", "settings", "is --http another daemon's?", "the daemon at %s is of cluster %q", d.Addr, stats.Cluster)
	}
	for _, m := range d.peers {
		if m.Name == d.name && m.State == "alive" && m.Addr != d.running.Addr {
			d.add("fail", "settings", "choose another --name", "%s has the name %q, and is up", m.Addr, m.Name)
		}
	}
}

// listens says whether a port is open for us.
func (d *doctor) listens() {
	if d.running != nil {
		d.add("ok", "ports", "", "%s and %s are the daemon's", d.running.Addr, d.Addr)
		return
	}
	for _, want := range []struct{ flag, network, addr string }{{"--bind", "tcp", d.bind}, {"--bind", "udp", d.bind}, {"--http", "tcp", client.HostPort(d.http)}} {
		switch err := listen(want.network, want.addr); {
		case err == nil:
			d.add("ok", "ports", "", "%s %s is free", want.network, want.addr)
		case d.answers:
			d.add("warn", "ports", "if that is no peer of yours, choose another "+want.flag, "%v: something answers at %s", err, d.Addr)
		case d.dev && addressTaken(err):
			d.add("ok", "ports", "", "%s %s is taken: --dev chooses another", want.network, want.addr)
		default:
			d.add("fail", "ports", "stop what listens there, another peer perhaps, or choose another "+want.flag, "%v", err)
		}
	}
}

// listen opens an address for a moment.
func listen(network, addr string) error {
	if network == "udp" {
		l, err := net.ListenPacket(network, addr)
		if err != nil {
			return err
		}
		return l.Close()
	}
	l, err := net.Listen(network, addr)
	if err != nil {
		return err
	}
	return l.Close()
}
