// Command http measures the daemon as its HTTP clients see it, beside Redis in the same
// run. It wants wrk, redis-server and redis-benchmark in the PATH (Debian: wrk,
// redis-server, redis-tools). Run it from the bench folder:
//
//	go run ./http
//	go run ./http -for 20s
//
// Generators and servers share the machine's cores, as they do for Redis. Processor time
// a request is that of the daemon alone, and depends less on what else runs. The exit
// code is 1 if something could not be measured or missed its goal.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/sentinel-peer/sentinel-peer/bench/measure"
)

const (
	connections = 64
	valueBytes  = 32
	watchers    = 1000
)

func main() {
	length := flag.Duration("for", 5*time.Second, "how long each load lasts")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	missed, err := run(ctx, *length)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
	}
	if err != nil || missed > 0 {
		os.Exit(1)
	}
}

func run(ctx context.Context, length time.Duration) (missed int, err error) {
	dir, err := os.MkdirTemp("", "bench-http-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	bin := filepath.Join(dir, "sentinel-peer")
	build := exec.CommandContext(ctx, "go", "build", "-o", bin, "./cmd/sentinel-peer")
	build.Dir = ".."
	if out, err := build.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("go build: %w\n%s", err, out)
	}
	var rows []measure.Row
	started, err := starts(ctx, bin, dir)
	if err != nil {
		return 0, err
	}
	rows = append(rows, measure.Row{What: "start to ready, median of 5", Unit: "ms", Measured: millis(started), Goal: 300})
	d, err := start(ctx, bin, dir)
	if err != nil {
		return 0, err
	}
	defer d.stop()
	select { // what it does at first
	case <-time.After(5 * time.Second):
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	resident, err := d.resident()
	if err != nil {
		return 0, err
	}
	rows = append(rows, measure.Row{What: "resident when idle", Unit: "MB", Measured: float64(resident) / 1e6, Goal: 40})
	loads, err := loads(ctx, d, dir, length)
	if err != nil {
		return 0, err
	}
	rows = append(rows, loads...)
	slowest, err := fanOut(ctx, d)
	if err != nil {
		return 0, err
	}
	slices.Sort(slowest)
	rows = append(rows, measure.Row{What: fmt.Sprintf("one write reaches %d watchers, median of %d", watchers, len(slowest)), Unit: "ms",
		Measured: millis(slowest[len(slowest)/2]), Goal: 50, Note: fmt.Sprintf("worst %.1f ms", millis(slowest[len(slowest)-1]))})
	return measure.Print(os.Stdout, rows), nil
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// daemon is a running daemon.
type daemon struct {
	cmd  *exec.Cmd
	addr string
}

// start returns when the daemon is ready.
func start(ctx context.Context, bin, dir string) (*daemon, error) {
	ports, err := freePorts(2)
	if err != nil {
		return nil, err
	}
	d := &daemon{addr: fmt.Sprintf("127.0.0.1:%d", ports[0])}
	d.cmd = exec.CommandContext(ctx, bin, "agent", "--cluster", "bench", "--name", "n1", "--log-level", "error",
		"--http", d.addr, "--bind", fmt.Sprintf("127.0.0.1:%d", ports[1]), "--state-dir", dir)
	d.cmd.Stderr = os.Stderr
	d.cmd.Cancel = func() error { return d.cmd.Process.Signal(syscall.SIGTERM) }
	d.cmd.WaitDelay = 15 * time.Second
	if err := d.cmd.Start(); err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		res, err := http.Get("http://" + d.addr + "/readyz")
		if err == nil {
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return d, nil
			}
		}
		if time.Now().After(deadline) {
			d.stop()
			return nil, fmt.Errorf("the daemon is not ready: %v", err)
		}
	}
}

func (d *daemon) stop() {
	_ = d.cmd.Process.Signal(syscall.SIGTERM)
	_ = d.cmd.Wait()
}

// starts returns the median time from start to ready, over five starts.
func starts(ctx context.Context, bin, dir string) (time.Duration, error) {
	var took []time.Duration
	for range 5 {
		began := time.Now()
		d, err := start(ctx, bin, dir)
		if err != nil {
			return 0, err
		}
		took = append(took, time.Since(began))
		d.stop()
	}
	slices.Sort(took)
	return took[len(took)/2], nil
}

func (d *daemon) resident() (bytes uint64, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", d.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		var kb uint64
		if n, _ := fmt.Sscanf(line, "VmRSS: %d kB", &kb); n == 1 {
			return kb << 10, nil
		}
	}
	return 0, errors.New("the daemon's status has no VmRSS")
}

// cpu returns the processor time that the daemon has used.
func (d *daemon) cpu() (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", d.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest) // from the third on, see proc(5)
	if len(fields) < 13 {
		return 0, fmt.Errorf("stat of the daemon: %q", text)
	}
	user, err1 := strconv.Atoi(fields[11])
	system, err2 := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond, errors.Join(err1, err2)
}

// loads drives get and put with wrk, and the same of Redis with its own benchmark.
func loads(ctx context.Context, d *daemon, dir string, length time.Duration) ([]measure.Row, error) {
	value := strings.Repeat("x", valueBytes)
	script := filepath.Join(dir, "put.lua")
	if err := os.WriteFile(script, fmt.Appendf(nil, `local n = 0
request = function()
  n = n + 1
  return wrk.format("PUT", "/v1/keys/bench/" .. (n %% 10000), nil, '"%s"')
end
`, value), 0o600); err != nil {
		return nil, err
	}
	if err := d.put(ctx, "bench/0", value); err != nil {
		return nil, err
	}
	get, err := d.wrk(ctx, length, "http://"+d.addr+"/v1/keys/bench/0")
	if err != nil {
		return nil, err
	}
	put, err := d.wrk(ctx, length, "-s", script, "http://"+d.addr)
	if err != nil {
		return nil, err
	}
	redis, err := redis(ctx, dir, length)
	if err != nil {
		return nil, err
	}
	row := func(what string, l load, goal, reference float64) measure.Row {
		return measure.Row{What: fmt.Sprintf("HTTP %s, %d connections", what, connections), Unit: "k/s", Measured: l.perSecond / 1e3, Goal: goal, AtLeast: true,
			Reference: reference / 1e3, Against: "redis-benchmark", Note: fmt.Sprintf("%.1f µs of processor each", l.cpuMicros)}
	}
	return []measure.Row{row("get", get, 40, redis["GET"]), row("put", put, 20, redis["SET"])}, nil
}

func (d *daemon) put(ctx context.Context, key, value string) error {
	req, err := http.NewRequestWithContext(ctx, "PUT", "http://"+d.addr+"/v1/keys/"+key, strings.NewReader(`"`+value+`"`))
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	res.Body.Close()
	if res.StatusCode >= 300 {
		return fmt.Errorf("put: %s", res.Status)
	}
	return nil
}

type load struct{ perSecond, cpuMicros float64 }

var (
	requestsIn = regexp.MustCompile(`(\d+) requests in`)
	perSecond  = regexp.MustCompile(`Requests/sec:\s+([\d.]+)`)
)

// wrk runs one load to its end.
func (d *daemon) wrk(ctx context.Context, length time.Duration, args ...string) (load, error) {
	before, err := d.cpu()
	if err != nil {
		return load{}, err
	}
	seconds := max(int(length/time.Second), 1)
	args = append([]string{"-t1", fmt.Sprintf("-c%d", connections), fmt.Sprintf("-d%ds", seconds)}, args...)
	out, err := exec.CommandContext(ctx, "wrk", args...).CombinedOutput()
	if err != nil {
		return load{}, fmt.Errorf("wrk: %w\n%s", err, out)
	}
	after, err := d.cpu()
	if err != nil {
		return load{}, err
	}
	count, rate := requestsIn.FindSubmatch(out), perSecond.FindSubmatch(out)
	if count == nil || rate == nil || strings.Contains(string(out), "Non-2xx") || strings.Contains(string(out), "Socket errors") {
		return load{}, fmt.Errorf("wrk: %s", out)
	}
	n, err1 := strconv.ParseFloat(string(count[1]), 64)
	each, err2 := strconv.ParseFloat(string(rate[1]), 64)
	return load{each, float64((after - before).Microseconds()) / n}, errors.Join(err1, err2)
}

// redis returns the requests a second by command.
func redis(ctx context.Context, dir string, length time.Duration) (map[string]float64, error) {
	ports, err := freePorts(1)
	if err != nil {
		return nil, err
	}
	port := strconv.Itoa(ports[0])
	server := exec.CommandContext(ctx, "redis-server", "--bind", "127.0.0.1", "--port", port, "--save", "", "--appendonly", "no", "--dir", dir)
	if err := server.Start(); err != nil {
		return nil, err
	}
	defer func() {
		_ = server.Process.Kill()
		_ = server.Wait()
	}()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		c, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err == nil {
			c.Close()
			break
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("redis-server: %w", err)
		}
	}
	n := strconv.Itoa(int(length.Seconds() * 40_000))
	out, err := exec.CommandContext(ctx, "redis-benchmark", "-p", port, "-c", strconv.Itoa(connections), "-n", n, "-d", strconv.Itoa(valueBytes),
		"-r", "10000", "-t", "get,set", "--csv").CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("redis-benchmark: %w\n%s", err, out)
	}
	rates := map[string]float64{}
	for line := range strings.Lines(string(out)) {
		if f := strings.Split(strings.ReplaceAll(line, `"`, ""), ","); len(f) > 1 {
			if rate, err := strconv.ParseFloat(strings.TrimSpace(f[1]), 64); err == nil {
				rates[f[0]] = rate
			}
		}
	}
	if rates["GET"] == 0 || rates["SET"] == 0 {
		return nil, fmt.Errorf("redis-benchmark: %s", out)
	}
	return rates, nil
}

// fanOut returns, for some writes, the time from the request until the last watcher had the
// write.
func fanOut(ctx context.Context, d *daemon) ([]time.Duration, error) {
	var got, ends sync.WaitGroup
	var open []net.Conn
	defer func() {
		for _, c := range open {
			c.Close()
		}
		ends.Wait()
	}()
	for range watchers {
		c, err := net.Dial("tcp", d.addr)
		if err != nil {
			return nil, err
		}
		open = append(open, c)
		fmt.Fprintf(c, "GET /v1/watch?match=fan/** HTTP/1.1\r\nHost: %s\r\n\r\n", d.addr)
		in := bufio.NewReaderSize(c, 1<<10)
		if err := until(in, ": watching"); err != nil {
			return nil, err
		}
		ends.Go(func() {
			for until(in, "event: put") == nil {
				got.Done()
			}
		})
	}
	var took []time.Duration
	for i := range 30 {
		got.Add(watchers)
		began := time.Now()
		if err := d.put(ctx, "fan/1", strconv.Itoa(i)); err != nil {
			return nil, err
		}
		all := make(chan struct{})
		go func() { got.Wait(); close(all) }()
		select {
		case <-all:
			took = append(took, time.Since(began))
		case <-time.After(20 * time.Second):
			return nil, errors.New("a watcher did not hear of a write within 20 s")
		}
	}
	return took, nil
}

// until reads lines up to the first one with this prefix.
func until(in *bufio.Reader, start string) error {
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return err
		}
		if strings.HasPrefix(line, start) {
			return nil
		}
	}
}

func freePorts(n int) ([]int, error) {
	var ports []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}
