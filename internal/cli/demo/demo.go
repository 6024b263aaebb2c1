package demo

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/sentinel-peer/sentinel-peer/internal/api"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/client"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/command"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/console"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/local"
)

// demo shows three real peers that are cut off, healed, killed and restarted.
type demo struct {
	local.Fleet
	out      io.Writer
	sabotage bool
	began    time.Time
	steps    []step
}

type step struct {
	name string
	took time.Duration
}

// New returns the demo command.
func New() *cobra.Command {
	d := demo{Fleet: local.Fleet{Batch: "0"}}
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Watch three peers share, lose each other, die, and agree",
		Long: `Start three peers as processes on loopback, with a key. All of them write values of
		every type. One peer is cut off while both sides go on writing; then the cut heals.
		One peer is killed and comes back empty. At the end all must hold the same state;
		otherwise the exit code is 1.`,
		Example: "  sentinel-peer demo --verbose",
		Args:    command.Args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			d.out = cmd.OutOrStdout()
			return d.run(cmd.Context())
		},
	}
	cmd.Flags().BoolVarP(&d.Verbose, "verbose", "v", false, "show the peers' logs")
	cmd.Flags().BoolVar(&d.sabotage, "sabotage", false, "cut one peer off for good, to see the demo fail")
	if err := cmd.Flags().MarkHidden("sabotage"); err != nil {
		panic(err)
	}
	return cmd
}

func (d *demo) run(ctx context.Context) (err error) {
	d.began = time.Now()
	if d.Dir, err = os.MkdirTemp("", "sentinel-demo-"); err != nil {
		return err
	}
	defer os.RemoveAll(d.Dir)
	defer d.Stop()
	if d.Self, err = os.Executable(); err != nil {
		return err
	}
	if err := d.Seal(); err != nil {
		return err
	}
	for _, do := range []func(context.Context) error{d.start, d.share, d.cut, d.heal, d.kill, d.revive} {
		ctx, cancel := context.WithTimeout(ctx, local.Patience)
		err := cmp.Or(do(ctx), console.Stdout.Failure())
		cancel()
		if err != nil {
			return fmt.Errorf("demo: %w", err)
		}
	}
	if d.sabotage {
		if err := d.sever(ctx, d.Peers[2], "sabotage"); err != nil {
			return err
		}
	}
	return d.verdict(ctx)
}

// say prints one line of the report.
func (d *demo) say(mark, format string, args ...any) {
	fmt.Fprintf(d.out, "%6.2fs  ", time.Since(d.began).Seconds())
	console.Paint(d.out, map[string]string{"✓": console.Green, "✗": console.Red, "▸": console.Cyan}[mark], mark)
	fmt.Fprintf(d.out, " "+format+"\n", args...)
}

// timed does one step and records how long it took.
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
	return d.timed("three peers up, and each knows the others", func() error { return d.Fleet.Start(ctx) })
}

func (d *demo) share(ctx context.Context) error {
	d.say("▸", "every peer writes: register, set, counter, maximum, object, custom, and one with a TTL")
	return d.timed("every write is on every peer", func() error {
		for i, p := range d.Peers {
			if err := everyType(ctx, p, i, "first"); err != nil {
				return fmt.Errorf("%s: %w", p.Name, err)
			}
		}
		return d.Agree(ctx, d.Peers)
	})
}

// sever cuts the peer p off from the others, in its own transport; then every peer writes.
func (d *demo) sever(ctx context.Context, p *local.Process, round string) error {
	var others []string
	for _, q := range d.Peers {
		if q != p {
			others = append(others, q.Gossip)
		}
	}
	body, err := json.Marshal(map[string]any{"peers": others})
	if err == nil {
		err = p.Client.Do(ctx, "POST", "/v1/dev/cut", nil, body, nil, nil)
	}
	if err != nil {
		return err
	}
	for i, q := range d.Peers {
		if err := everyType(ctx, q, i, round); err != nil {
			return fmt.Errorf("%s: %w", q.Name, err)
		}
	}
	side := "left"
	if p == d.Peers[2] {
		side = "right"
	}
	return errors.Join(d.Peers[0].Put(ctx, "demo/contested", `"left"`), d.Peers[2].Put(ctx, "demo/contested", fmt.Sprintf("%q", side)))
}

func (d *demo) cut(ctx context.Context) error {
	d.say("▸", "cutting n3 off; both sides go on writing, also to one key")
	if err := d.sever(ctx, d.Peers[2], "apart"); err != nil {
		return err
	}
	// Anything under way would have arrived by then if the cut leaked.
	if err := local.Until(ctx, "cut", func() error { return elapsed(d.began, 4*time.Second) }); err != nil {
		return err
	}
	var a, b json.RawMessage
	if err := errors.Join(
		d.Peers[0].Client.Do(ctx, "GET", client.KeyPath("/v1/keys/", "demo/contested"), nil, nil, nil, &a),
		d.Peers[2].Client.Do(ctx, "GET", client.KeyPath("/v1/keys/", "demo/contested"), nil, nil, nil, &b),
	); err != nil {
		return err
	}
	if string(a) == string(b) {
		return errors.New("the cut did not cut: n1 and n3 agree")
	}
	d.say("✓", "they differ meanwhile: demo/contested is %s on n1 and n2, %s on n3", a, b)
	return nil
}

// elapsed returns an error until the time d has passed since began.
func elapsed(began time.Time, d time.Duration) error {
	if left := d - time.Since(began); left > 0 {
		return fmt.Errorf("%v to go", left)
	}
	return nil
}

func (d *demo) heal(ctx context.Context) error {
	if err := d.Peers[2].Client.Do(ctx, "POST", "/v1/dev/heal", nil, nil, nil, nil); err != nil {
		return err
	}
	if err := d.timed("the cut is healed and all agree again", func() error {
		return errors.Join(d.Together(ctx, d.Peers), d.Agree(ctx, d.Peers))
	}); err != nil {
		return err
	}
	var lost api.List[api.Conflict]
	for _, p := range d.Peers {
		if err := p.Client.Do(ctx, "GET", "/v1/conflicts", url.Values{"match": {"demo/contested"}}, nil, nil, &lost); err != nil {
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
	p := d.Peers[1]
	if err := p.Cmd.Process.Kill(); err != nil {
		return err
	}
	_ = p.Cmd.Wait() // the error only says that the process was killed
	p.Log.Close()
	return errors.Join(
		d.Peers[0].Put(ctx, "demo/while-away", `"n1 was here"`),
		d.Peers[2].Post(ctx, "/v1/sets/", "demo/tags", `{"remove":["all"]}`),
		d.Peers[2].Client.Do(ctx, "DELETE", client.KeyPath("/v1/keys/", "demo/color/n1"), nil, nil, nil, nil),
	)
}

func (d *demo) revive(ctx context.Context) error {
	return d.timed("n2 is back from nothing, under its old name, and has everything", func() error {
		if err := d.Launch(d.Peers[1]); err != nil {
			return err
		}
		if err := local.Until(ctx, "waiting for n2", func() error {
			return d.Peers[1].Client.Do(ctx, "GET", "/readyz", nil, nil, nil, nil)
		}); err != nil {
			return err
		}
		return d.Agree(ctx, d.Peers)
	})
}

// expected is what the keys hold at the end; "" stands for any value that the peers agree on.
var expected = []struct{ key, value string }{
	{"demo/color/n1", absent}, {"demo/color/n3", ""}, {"demo/contested", ""},
	{"demo/tags", `["n1-apart","n1-first","n2-apart","n2-first","n3-apart","n3-first"]`},
	{"demo/done", "120"}, {"demo/record", "102"}, {"demo/task", ""}, {"demo/opinion", ""},
	{"demo/session/n1", absent}, {"demo/while-away", `"n1 was here"`},
}

const absent = "–"

// verdict prints what every peer holds, and fails if the peers differ.
func (d *demo) verdict(ctx context.Context) error {
	bounded, cancel := context.WithTimeout(ctx, 3*time.Second)
	disagree := d.Agree(bounded, d.Peers)
	cancel()
	_ = local.Until(ctx, "expiry", func() error { return elapsed(d.began, 6*time.Second) }) // past every TTL
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
		for _, p := range d.Peers {
			cells = append(cells, shown(ctx, p, e.key))
		}
		row(e.key, e.value, cells)
	}
	var counts, sums []string
	for _, p := range d.Peers {
		var g api.Digest
		if err := p.Client.Do(ctx, "GET", "/v1/digest", nil, nil, nil, &g); err != nil {
			return wrong, err
		}
		counts, sums = append(counts, fmt.Sprint(g.Keys)), append(sums, g.Hash)
	}
	row("keys", "", counts)
	row("checksum", "", sums)
	fmt.Fprintf(w, "%s: deleted, or its time is up\n", absent)
	return wrong, w.Flush()
}

// brief shortens long cells, and replaces cells that equal the first by "same".
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
