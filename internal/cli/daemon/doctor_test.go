package daemon

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sentinel-peer/sentinel-peer/internal/cli/client"
)

// secured starts a daemon behind TLS, and returns its address and the files of its settings.
func secured(t *testing.T) (addr string, e endpoint) {
	const token = "0123456789abcdefghij"
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("Authorization") != "Bearer "+token:
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, `{"detail":"a token is wanted"}`)
		case r.URL.Path == "/v1/members":
			fmt.Fprint(w, `{"items":[{"name":"n1","self":true,"state":"alive","addr":"127.0.0.1:1"},{"name":"n2","state":"alive","addr":"127.0.0.1:2"}]}`)
		case r.URL.Path == "/v1/verdict":
			fmt.Fprint(w, `{"level":"warn","summary":"2 of 2 peers alive; 1 item dead.","findings":[{"check":"dead-items","level":"warn","what":"1 item dead","why":"tried too often","next":"read its error"}]}`)
		case r.URL.Path == "/v1/stats":
			fmt.Fprint(w, `{"cluster":"farm"}`)
		}
	}))
	s.Config.ErrorLog = log.New(t.Output(), "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	file := func(name string, content []byte) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	pair := s.TLS.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return s.Listener.Addr().String(), endpoint{
		certFile:  file("cert", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]})),
		keyFile:   file("key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})),
		tokenFile: file("tokens", []byte("# callers\nops sha256:"+strings.Repeat("0", 64)+" admin\nci "+token+" read:*\n")),
	}
}

// examined returns the doctor's findings, one a line.
func examined(t *testing.T, d *doctor) string {
	t.Helper()
	t.Setenv(client.TokenVariable, "")
	if d.bind == "" {
		d.bind = "127.0.0.1:0"
	}
	d.logLevel, d.stateDir, d.Out, d.Timeout = "info", noState, io.Discard, time.Minute
	if err := d.approach(t.Context()); err != nil {
		t.Fatal(err)
	}
	d.examine(t.Context())
	var text strings.Builder
	for _, f := range d.findings {
		fmt.Fprintf(&text, "%s %s: %s (%s)\n", f.Verdict, f.Check, f.Detail, f.Advice)
	}
	return text.String()
}

func holds(t *testing.T, text string, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
}

// The doctor calls a daemon as its own settings say, and takes from it what they leave open.
func TestTheDoctorFindsADaemonBehindTLS(t *testing.T) {
	addr, files := secured(t)
	found := examined(t, &doctor{daemon: daemon{http: addr, serve: files}})
	holds(t, found, `ok settings: cluster "farm"`, "ok daemon: n1 runs at https://"+addr, "ok access:", "are the daemon's",
		"warn cluster: 2 of 2 peers alive; 1 item dead.", "warn dead-items: 1 item dead: tried too often (read its error)")
	if strings.Contains(found, "fail") {
		t.Error(found)
	}
	holds(t, examined(t, &doctor{daemon: daemon{http: addr, name: "n2", serve: files}}), `fail settings: 127.0.0.1:2 has the name "n2" too, and is up (choose another --name)`)
	holds(t, examined(t, &doctor{daemon: daemon{http: addr, cluster: "other", serve: files}}), `warn settings: the daemon at https://`+addr+` is of cluster "farm"`)
}

// Something that answers at the port and refuses the doctor is not taken for another program.
func TestTheDoctorKnowsWhatItDoesNotUnderstand(t *testing.T) {
	addr, files := secured(t)
	plain := examined(t, &doctor{daemon: daemon{http: addr}})
	holds(t, plain, "warn daemon: the daemon at "+addr+": it speaks TLS: use --http https://"+addr, "give the doctor its settings", "warn ports")
	files.tokenFile = ""
	holds(t, examined(t, &doctor{daemon: daemon{http: addr, serve: files}}), "warn daemon: at https://"+addr+": a token is wanted (set $SENTINEL_TOKEN", "warn ports")
	_, others := secured(t)
	if err := os.WriteFile(others.certFile, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	holds(t, examined(t, &doctor{daemon: daemon{http: addr, serve: others}}), "fail access:")
}

func TestTheDoctorTakesAURL(t *testing.T) {
	found := examined(t, &doctor{daemon: daemon{http: "https://127.0.0.1:0/"}})
	holds(t, found, "ok ports: tcp 127.0.0.1:0 is free", "none runs at https://127.0.0.1:0")
}

// A row that advice refers to is there.
func TestTheDoctorNamesRowsThatAreThere(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/v1/members":
			fmt.Fprint(w, `{"items":[{"name":"n1","self":true,"state":"alive","addr":"127.0.0.1:1"}]}`)
		case "/readyz":
			w.WriteHeader(http.StatusServiceUnavailable)
		default:
			fmt.Fprint(w, `{"level":"fail"}`)
		}
	}))
	defer s.Close()
	named := regexp.MustCompile(`row '([a-z]+)'`)
	mentions := 0
	for _, join := range [][]string{nil, {"127.0.0.1:1"}} {
		for _, addr := range []string{s.Listener.Addr().String(), "127.0.0.1:1"} {
			found := examined(t, &doctor{daemon: daemon{http: addr, join: join}})
			for _, row := range named.FindAllStringSubmatch(found, -1) {
				mentions++
				if !regexp.MustCompile(`(?m)^\w+ ` + row[1] + `:`).MatchString(found) {
					t.Errorf("with %q to join and a daemon at %s no row is called %q:\n%s", join, addr, row[1], found)
				}
			}
		}
	}
	if mentions == 0 {
		t.Error("no row is named: this test looks for the wrong words")
	}
}

// A new key is advised only where there is no key: in a cluster that has one, it would shut the
// peer out.
func TestTheDoctorAdvisesNoNewKeyForOneThatIsUnreadable(t *testing.T) {
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte("garbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	d := &doctor{daemon: daemon{http: "127.0.0.1:0", keyFile: file}}
	found := examined(t, d)
	holds(t, found, "fail key:", "put the keys there that the other peers have")
	if strings.Contains(found, "keygen") {
		t.Error(found)
	}
	d = &doctor{daemon: daemon{http: "127.0.0.1:0", keyFile: file + "x"}}
	holds(t, examined(t, d), "copy the file of a peer that runs")
	denied := &fs.PathError{Op: "open", Path: file, Err: syscall.EACCES} // root, who may run this test, gets none
	if advice := keyAdvice(denied); strings.Contains(advice, "keygen") || !strings.Contains(advice, "run the doctor as that user") {
		t.Error(advice)
	}
}

func TestWithoutAFolderForStateTheDaemonRuns(t *testing.T) {
	t.Setenv("STATE_DIRECTORY", os.DevNull)
	d := &doctor{}
	d.state()
	if len(d.findings) != 1 || d.findings[0].Verdict != "warn" || strings.Contains(d.findings[0].Detail, "doctor-") {
		t.Errorf("%+v", d.findings)
	}
}
