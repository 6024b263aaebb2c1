package rival

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// Dskit is a process with three peers of dskit's memberlist KV, gossiping every
// 10 ms: bench/dskit, a module of its own.
type Dskit struct {
	cmd     *exec.Cmd
	in      io.WriteCloser
	answers *bufio.Reader
	dir     string
}

// OpenDskit builds and starts the process. The working directory must be bench.
func OpenDskit(ctx context.Context) (*Dskit, error) {
	dir, err := os.MkdirTemp("", "bench-dskit-")
	if err != nil {
		return nil, fmt.Errorf("dskit: %w", err)
	}
	d := &Dskit{dir: dir}
	if err := d.start(ctx, filepath.Join(dir, "dskit")); err != nil {
		d.Close()
		return nil, fmt.Errorf("dskit: %w", err)
	}
	return d, nil
}

func (d *Dskit) start(ctx context.Context, bin string) error {
	if out, err := exec.CommandContext(ctx, "go", "build", "-C", "dskit", "-o", bin, ".").CombinedOutput(); err != nil {
		return fmt.Errorf("build: %w: %s", err, out)
	}
	cmd := exec.CommandContext(ctx, bin)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	d.cmd, d.in, d.answers = cmd, in, bufio.NewReader(out)
	return d.ask("ready", 0, 1, new(bool))
}

func (d *Dskit) ask(verb string, n, keys int, answer any) error {
	if _, err := fmt.Fprintln(d.in, verb, n, keys); err != nil {
		return fmt.Errorf("dskit: %w", err)
	}
	line, err := d.answers.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("dskit: no answer to %s: %w", verb, err)
	}
	return json.Unmarshal(line, answer)
}

// Visible makes n writes of so many keys on one peer, one after the other, and
// returns how long each took until watchers on both others had it.
func (d *Dskit) Visible(n, keys int) (took []time.Duration, err error) {
	return took, d.ask("visible", n, keys, &took)
}

// Put makes n writes of so many keys and returns how long they took to return.
func (d *Dskit) Put(n, keys int) (took time.Duration, err error) {
	return took, d.ask("put", n, keys, &took)
}

// Close ends the process.
func (d *Dskit) Close() {
	if d.cmd != nil {
		d.in.Close()
		d.cmd.Wait()
	}
	os.RemoveAll(d.dir)
}
