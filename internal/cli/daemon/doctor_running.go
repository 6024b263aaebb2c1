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

// errOtherCertificate means that a daemon shows a certificate that is not in the file.
var errOtherCertificate = errors.New("it shows another certificate than that of --tls-cert: SIGHUP makes it read the file again")

// approach prepares requests to the daemon of these settings. If they name a certificate, it
// uses TLS and trusts exactly that certificate. If the file of tokens has a token in plain
// text, it uses the first such token.
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
	if err != nil { // the row "access" says why
		return nil
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{
		InsecureSkipVerify: true, // VerifyConnection wants this very certificate, whatever its name and authority
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

// plainToken returns the first token of a file that is there in plain text, not as a hash.
func plainToken(ctx context.Context, file string) string {
	f, _ := aside.ReadFile(ctx, file) // on an error, the row "access" says why
	for line := range strings.Lines(string(f.Text)) {
		if words := strings.Fields(line); len(words) > 1 && words[0][0] != '#' && !strings.HasPrefix(words[1], "sha256:") {
			return words[1]
		}
	}
	return ""
}

// access checks which clients may call the daemon, and whether it may listen for them.
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
		d.add("fail", "access", "renew it; SIGHUP makes the daemon read the file again", "the certificate in %s expired at %s", d.serve.certFile, own.Leaf.NotAfter.Local().Format(time.DateTime))
		return
	}
	d.add("ok", "access", "", "the key and the certificate go together")
}

// meet looks for a daemon that runs here, and asks whether it is ready.
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
		d.add("warn", "daemon", "set $"+client.TokenVariable+" to a token that may call the daemon", "at %s: %v", d.Addr, err)
		return
	case errors.As(err, &e) && e.Code == api.ExitUnreachable:
		d.add("ok", "daemon", "", "none runs at %s", d.Addr)
		return
	case err != nil:
		d.answers = true
		d.add("warn", "daemon", "check whether another program listens there", "at %s: %v", d.Addr, err)
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
		advice := "it must sync with one peer: see its log, and give the doctor its settings, so that the peers to join are checked"
		if len(d.join) > 0 {
			advice = "it must sync with one peer: see its log, and row 'join'"
		}
		if refused, ok := errors.AsType[*client.Refusal](err); ok && refused.Code == "voter-fresh" {
			advice = "wait until it is ready before you stop another voter"
		}
		d.add("fail", "daemon", advice, "at %s: %v", d.Addr, err)
		return
	}
	d.add("ok", "daemon", "", "%s runs at %s and is ready", cmp.Or(d.running, &api.Member{}).Name, d.Addr)
}

// compare takes the cluster and the name from the daemon where no setting has them, and compares
// them with the settings where one does.
func (d *doctor) compare(ctx context.Context) {
	var stats struct{ Cluster string }
	if err := d.Do(ctx, "GET", "/v1/stats", nil, nil, nil, &stats); err != nil || d.running == nil {
		return // the daemon may be an older one, or stopping
	}
	d.cluster, d.name = cmp.Or(d.cluster, stats.Cluster), cmp.Or(d.name, d.running.Name)
	if d.cluster != stats.Cluster && stats.Cluster != "" {
		d.add("warn", "settings", "check that --http is not that of another daemon", "the daemon at %s is of cluster %q", d.Addr, stats.Cluster)
	}
	for _, m := range d.peers {
		if m.Name == d.name && m.State == "alive" && m.Addr != d.running.Addr {
			d.add("fail", "settings", "choose another --name", "%s has the name %q too, and is up", m.Addr, m.Name)
		}
	}
}

// listens checks whether the daemon can listen on its ports.
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
			d.add("warn", "ports", "unless that is a peer of yours, choose another "+want.flag, "%v: something answers at %s", err, d.Addr)
		case d.dev && addressTaken(err):
			d.add("ok", "ports", "", "%s %s is taken: --dev chooses another", want.network, want.addr)
		default:
			d.add("fail", "ports", "stop the program that listens there, perhaps another peer, or choose another "+want.flag, "%v", err)
		}
	}
}

// listen opens an address for a moment, to see whether it is free.
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
