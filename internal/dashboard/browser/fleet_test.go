// Package browser tests the dashboard of real daemons in a real browser. It is a module of its own,
// so that its driver is not in the go.sum of the product.
package browser

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patience is the time limit of any one step on a busy machine.
const patience = time.Minute

// fleet is several daemons on loopback.
type fleet struct {
	t      *testing.T
	binary string
	flags  []string
	token  string // the token for writes
	gossip []string
	http   []string
	run    []*exec.Cmd
	log    []*bytes.Buffer
}

// build returns the path of the daemon's program, which it builds unless make has.
func build(t *testing.T) string {
	t.Helper()
	if made := os.Getenv("SENTINEL_PEER"); made != "" {
		return made
	}
	binary := filepath.Join(t.TempDir(), "sentinel-peer")
	build := exec.Command("go", "build", "-o", binary, "./cmd/sentinel-peer")
	build.Dir = filepath.Join("..", "..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return binary
}

func newFleet(t *testing.T, binary string, count int, flags ...string) *fleet {
	t.Helper()
	f := &fleet{t: t, binary: binary, flags: flags, run: make([]*exec.Cmd, count)}
	addrs := free(t, 2*count)
	f.gossip, f.http = addrs[:count], addrs[count:]
	for i := range count {
		f.log = append(f.log, new(bytes.Buffer))
		f.start(i)
	}
	t.Cleanup(func() {
		for i := range f.run {
			f.stop(i)
			if t.Failed() {
				t.Logf("n%d: %s", i+1, f.log[i])
			}
		}
	})
	for i := range count {
		f.wait(i, "/readyz")
	}
	return f
}

// free returns loopback addresses that nobody uses and that no outgoing connection will take.
func free(t *testing.T, n int) (addrs []string) {
	t.Helper()
	for range 100 * n {
		if len(addrs) == n {
			return addrs
		}
		addr := fmt.Sprintf("127.0.0.1:%d", 20_000+rand.N(12_000))
		l, err := net.Listen("tcp", addr)
		if err != nil {
			continue
		}
		defer l.Close() // held until all are found, so that none is found twice
		if u, err := net.ListenPacket("udp", addr); err == nil {
			u.Close()
			addrs = append(addrs, addr)
		}
	}
	t.Fatal("no free addresses on loopback")
	return nil
}

func (f *fleet) start(i int) {
	f.t.Helper()
	args := []string{"agent", "--cluster", "browser", "--name", fmt.Sprintf("n%d", i+1), "--bind", f.gossip[i], "--http", f.http[i],
		"--state-dir", "none", "--drain", "2s"}
	for j, seed := range f.gossip {
		if j != i {
			args = append(args, "--join", seed)
		}
	}
	f.run[i] = exec.Command(f.binary, append(args, f.flags...)...)
	f.run[i].Stderr = f.log[i]
	if err := f.run[i].Start(); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fleet) stop(i int) {
	if f.run[i] != nil {
		_ = f.run[i].Process.Signal(syscall.SIGTERM)
		_ = f.run[i].Wait()
		f.run[i] = nil
	}
}

func (f *fleet) url(i int, path string) string { return "http://" + f.http[i] + path }

// wait waits until a daemon answers.
func (f *fleet) wait(i int, path string) {
	f.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		res, err := http.Get(f.url(i, path))
		if err == nil {
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return
			}
		}
	}
	f.t.Fatalf("n%d does not answer %s:\n%s", i+1, path, f.log[i])
}

func (f *fleet) send(i int, method, path, body string) {
	f.t.Helper()
	req, err := http.NewRequest(method, f.url(i, path), strings.NewReader(body))
	if err != nil {
		f.t.Fatal(err)
	}
	if f.token != "" {
		req.Header.Set("Authorization", "Bearer "+f.token)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		f.t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode >= 300 {
		answer, _ := io.ReadAll(res.Body)
		f.t.Fatalf("%s %s: %s %s", method, path, res.Status, answer)
	}
}

func (f *fleet) put(i int, key, value string) {
	f.t.Helper()
	f.send(i, "PUT", "/v1/keys/"+url.PathEscape(key), value)
}

// chromium returns the path of Debian's chromium; see make browser.
func chromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{os.Getenv("CHROMIUM"), "chromium", "chromium-browser", "google-chrome"} {
		if p, err := exec.LookPath(name); name != "" && err == nil {
			return p
		}
	}
	t.Fatal("no chromium: apt-get install --no-install-recommends chromium fonts-dejavu-core, or make browser")
	return ""
}
