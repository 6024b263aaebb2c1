package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/sentinel-peer/sentinel-peer/internal/api"
)

// demo runs three real peers through what peers must survive.
type demo struct {
	out      io.Writer
	verbose  bool
	sabotage bool
	self     string // the program to start as a peer
	dir      string
	batch    string   // interval
	flags    []string // more of them, for each peer
	began    time.Time
	peers    []*process
	steps    []step
}

type step struct {
	name string
	took time.Duration
}

func newDemo() *cobra.Command {
	d := demo{batch: "0"}
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Watch three peers share, lose each other, die, and agree",
		Long: `Start three peers as processes on loopback, with a key. All write values of every
type. One is cut off while both sides go on writing; the cut heals. One is killed
and comes back empty. In the end all must hold the same; if not, the exit code is 1.`,
		Example: "  sentinel-peer demo --verbose",
		Args:    args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			d.out = cmd.OutOrStdout()
			return d.run(cmd.Context())
		},
	}
	cmd.Flags().BoolVarP(&d.verbose, "verbose", "v", false, "show the peers' logs")
	cmd.Flags().BoolVar(&d.sabotage, "sabotage", false, "cut one peer off for good, to see the demo fail")
	if err := cmd.Flags().MarkHidden("sabotage"); err != nil {
		panic(err)
	}
	return cmd
}

const demoPatience = 20 * time.Second // for any one step

func (d *demo) run(ctx context.Context) (err error) {
	d.began = time.Now()
	if d.dir, err = os.MkdirTemp("", "sentinel-demo-"); err != nil {
		return err
	}
	defer os.RemoveAll(d.dir)
	defer d.stop()
	if d.self, err = os.Executable(); err != nil {
		return err
	}
	if err := d.seal(); err != nil {
		return err
	}
	for _, do := range []func(context.Context) error{d.start, d.share, d.cut, d.heal, d.kill, d.revive} {
		ctx, cancel := context.WithTimeout(ctx, demoPatience)
		err := cmp.Or(do(ctx), stdout.failure())
		cancel()
		if err != nil {
			return fmt.Errorf("demo: %w", err)
		}
	}
	if d.sabotage {
		if err := d.sever(ctx, d.peers[2], "sabotage"); err != nil {
			return err
		}
	}
	return d.verdict(ctx)
}

func (d *demo) keyFile() string { return filepath.Join(d.dir, "key") }

// seal makes the cluster's key.
func (d *demo) seal() error { return os.WriteFile(d.keyFile(), []byte(newKey()+"\n"), 0o600) }

// say prints one line of the account.
func (d *demo) say(mark, format string, args ...any) {
	fmt.Fprintf(d.out, "%6.2fs  ", time.Since(d.began).Seconds())
	paint(d.out, map[string]string{"✓": green, "✗": red, "▸": cyan}[mark], mark)
	fmt.Fprintf(d.out, " "+format+"\n", args...)
}

// timed does one step and notes how long it took.
func (d *demo) timed(name string, do func() error) error {
	began := time.Now()
	if err := do(); err != nil {
		d.say("✗", "%s: %v", name, err)
		return err
	}
	took := time.Since(began)
	d.steps = append(d.steps, step{name, took})
	d.say("✓", "%s in %s", name, round(took))
	return nil
}

func round(t time.Duration) time.Duration {
	if t < 10*time.Millisecond {
		return t.Round(10 * time.Microsecond)
	}
	return t.Round(time.Millisecond)
}

func (d *demo) start(ctx context.Context) error {
	d.say("▸", "starting three peers as processes on loopback, sealed with a new key")
	return d.timed("three peers up, and each knows the others", func() error {
		for i := range 3 {
			addrs, err := freeAddrs(2)
			if err != nil {
				return err
			}
			p := &process{name: fmt.Sprintf("n%d", i+1), gossip: addrs[0], client: client{addr: addrs[1], timeout: demoPatience}}
			d.peers = append(d.peers, p)
			if err := d.launch(p); err != nil {
				return err
			}
		}
		return d.together(ctx, d.peers)
	})
}

func (d *demo) share(ctx context.Context) error {
	d.say("▸", "every peer writes: register, set, counter, maximum, object, custom, and one with a TTL")
	return d.timed("every write is on every peer", func() error {
		for i, p := range d.peers {
			if err := p.everyType(ctx, i, "first"); err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
		}
		return d.agree(ctx, d.peers)
	})
}

// sever cuts p off from the others, in its own transport.
func (d *demo) sever(ctx context.Context, p *process, round string) error {
	var others []string
	for _, q := range d.peers {
		if q != p {
			others = append(others, q.gossip)
		}
	}
	body, err := json.Marshal(map[string]any{"peers": others})
	if err == nil {
		err = p.client.do(ctx, "POST", "/v1/dev/cut", nil, body, nil, nil)
	}
	if err != nil {
		return err
	}
	for i, q := range d.peers {
		if err := q.everyType(ctx, i, round); err != nil {
			return fmt.Errorf("%s: %w", q.name, err)
		}
	}
	side := "left"
	if p == d.peers[2] {
		side = "right"
	}
	return errors.Join(d.peers[0].put(ctx, "demo/contested", `"left"`), d.peers[2].put(ctx, "demo/contested", fmt.Sprintf("%q", side)))
}

func (d *demo) cut(ctx context.Context) error {
	d.say("▸", "cutting n3 off; both sides go on writing, also to one key")
	if err := d.sever(ctx, d.peers[2], "apart"); err != nil {
		return err
	}
	// Long enough for anything under way to have arrived if the cut leaked.
	if err := until(ctx, "cut", func() error { return elapsed(d.began, 4*time.Second) }); err != nil {
		return err
	}
	var a, b json.RawMessage
	if err := errors.Join(
		d.peers[0].client.do(ctx, "GET", keyPath("/v1/keys/", "demo/contested"), nil, nil, nil, &a),
		d.peers[2].client.do(ctx, "GET", keyPath("/v1/keys/", "demo/contested"), nil, nil, nil, &b),
	); err != nil {
		return err
	}
	if string(a) == string(b) {
		return errors.New("the cut did not cut: n1 and n3 agree")
	}
	d.say("✓", "they differ meanwhile: demo/contested is %s on n1 and n2, %s on n3", a, b)
	return nil
}

// elapsed is an error until d has passed since began.
func elapsed(began time.Time, d time.Duration) error {
	if left := d - time.Since(began); left > 0 {
		return fmt.Errorf("%v to go", left)
	}
	return nil
}

func (d *demo) heal(ctx context.Context) error {
	if err := d.peers[2].client.do(ctx, "POST", "/v1/dev/heal", nil, nil, nil, nil); err != nil {
		return err
	}
	if err := d.timed("the cut is healed and all agree again", func() error {
		return errors.Join(d.together(ctx, d.peers), d.agree(ctx, d.peers))
	}); err != nil {
		return err
	}
	var lost api.List[api.Conflict]
	for _, p := range d.peers {
		if err := p.client.do(ctx, "GET", "/v1/conflicts", url.Values{"match": {"demo/contested"}}, nil, nil, &lost); err != nil {
			return err
		}
		if len(lost.Items) > 0 {
			c := lost.Items[0]
			d.say("✓", "demo/contested is %s; %s's %s is in the conflict journal (%s)", c.Winner.Value, c.Loser.Writer, c.Loser.Value, c.Rule)
			return nil
		}
	}
	return errors.New("nobody journalled the conflict on demo/contested")
}

func (d *demo) kill(ctx context.Context) error {
	d.say("▸", "kill -9 n2; the others go on")
	p := d.peers[1]
	if err := p.cmd.Process.Kill(); err != nil {
		return err
	}
	_ = p.cmd.Wait() // it was killed, and says so
	p.log.Close()
	return errors.Join(
		d.peers[0].put(ctx, "demo/while-away", `"n1 was here"`),
		d.peers[2].post(ctx, "/v1/sets/", "demo/tags", `{"remove":["all"]}`),
		d.peers[2].client.do(ctx, "DELETE", keyPath("/v1/keys/", "demo/color/n1"), nil, nil, nil, nil),
	)
}

func (d *demo) revive(ctx context.Context) error {
	return d.timed("n2 is back from nothing, under its old name, and has everything", func() error {
		if err := d.launch(d.peers[1]); err != nil {
			return err
		}
		if err := until(ctx, "waiting for n2", func() error {
			return d.peers[1].client.do(ctx, "GET", "/readyz", nil, nil, nil, nil)
		}); err != nil {
			return err
		}
		return d.agree(ctx, d.peers)
	})
}

// expected is what the keys hold in the end, "" for whatever the peers agree on.
var expected = []struct{ key, value string }{
	{"demo/color/n1", absent}, {"demo/color/n3", ""}, {"demo/contested", ""},
	{"demo/tags", `["n1-apart","n1-first","n2-apart","n2-first","n3-apart","n3-first"]`},
	{"demo/done", "120"}, {"demo/record", "102"}, {"demo/task", ""}, {"demo/opinion", ""},
	{"demo/session/n1", absent}, {"demo/while-away", `"n1 was here"`},
}

const absent = "–"

// verdict prints what every peer holds, and fails if that is not the same.
func (d *demo) verdict(ctx context.Context) error {
	bounded, cancel := context.WithTimeout(ctx, 3*time.Second)
	disagree := d.agree(bounded, d.peers)
	cancel()
	_ = until(ctx, "expiry", func() error { return elapsed(d.began, 6*time.Second) }) // past every TTL
	wrong, err := d.compare(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintln(d.out)
	w := tabwriter.NewWriter(d.out, 0, 0, 2, ' ', 0)
	for _, s := range d.steps {
		fmt.Fprintf(w, "%s\t%s\n", s.name, round(s.took))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if wrong > 0 || disagree != nil {
		return fmt.Errorf("demo: the peers do not agree: %d rows differ", wrong)
	}
	fmt.Fprintf(d.out, "\nAll three peers agree, after %s.\n", time.Since(d.began).Round(10*time.Millisecond))
	return nil
}

// compare prints a table of what each peer holds and returns how many rows are wrong.
func (d *demo) compare(ctx context.Context) (wrong int, err error) {
	fmt.Fprintln(d.out)
	w := tabwriter.NewWriter(d.out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "key\tn1\tn2\tn3\t\n")
	row := func(name, want string, cells []string) {
		mark := "✓"
		if slices.ContainsFunc(cells, func(c string) bool { return c != cells[0] || want != "" && c != want }) {
			mark = "✗ differ"
			wrong++
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", name, strings.Join(brief(cells), "\t"), mark)
	}
	for _, e := range expected {
		var cells []string
		for _, p := range d.peers {
			cells = append(cells, p.shown(ctx, e.key))
		}
		row(e.key, e.value, cells)
	}
	var counts, sums []string
	for _, p := range d.peers {
		var g api.Digest
		if err := p.client.do(ctx, "GET", "/v1/digest", nil, nil, nil, &g); err != nil {
			return wrong, err
		}
		counts, sums = append(counts, fmt.Sprint(g.Keys)), append(sums, g.Hash)
	}
	row("keys", "", counts)
	row("checksum", "", sums)
	fmt.Fprintf(w, "%s: deleted, or its time is up\n", absent)
	return wrong, w.Flush()
}

// brief shortens cells that are long, or the same as the first.
func brief(cells []string) []string {
	short := slices.Clone(cells)
	for i, c := range cells {
		switch {
		case i > 0 && c == cells[0]:
			short[i] = "same"
		case len(c) > 44:
			short[i] = c[:41] + "…"
		}
	}
	return short
}
