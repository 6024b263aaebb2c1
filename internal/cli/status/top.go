package status

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"
	"github.com/charmbracelet/x/term"
	"github.com/spf13/cobra"

	"github.com/sentinel-peer/sentinel-peer/internal/cli/client"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/command"
	"github.com/sentinel-peer/sentinel-peer/internal/cli/console"
)

func newTop(c *client.Client) *cobra.Command {
	interval := time.Second
	count := 0
	cmd := &cobra.Command{
		Use: "top", Short: "Show what status shows, live and with rates",
		Long: `Show what status shows, live and with rates. At a terminal, space pauses, r refreshes at
		once and q quits. Elsewhere, and with -o json or ndjson, the command prints one screen after
		the other.`,
		Example: "  sentinel-peer top\n  sentinel-peer top --interval 5s -o ndjson", Args: command.Args(cobra.NoArgs),
	}
	cmd.Flags().DurationVar(&interval, "interval", interval, "time between two screens; 100ms or more")
	cmd.Flags().IntVar(&count, "count", 0, "end after this many screens, which are printed; 0 for no end")
	return c.Command(cmd, func(cmd *cobra.Command, _ []string) error {
		if interval < 100*time.Millisecond || count < 0 {
			return command.Usage(fmt.Errorf("--interval %v, --count %d: want 100ms or more, and 0 or more", interval, count))
		}
		if c.Output == "table" && count == 0 && term.IsTerminal(os.Stdin.Fd()) && console.Stdout.Terminal {
			m := topModel{interval: interval, ask: func() (*look, error) { return LookAt(cmd.Context(), c) }, color: console.Stdout.Color}
			_, err := tea.NewProgram(m, tea.WithContext(cmd.Context())).Run()
			if errors.Is(err, tea.ErrProgramKilled) || errors.Is(err, tea.ErrInterrupted) {
				return nil
			}
			return err
		}
		return topPlain(cmd.Context(), c, interval, count)
	})
}

// topPlain prints screens until it has printed count of them, or ctx ends.
func topPlain(ctx context.Context, c *client.Client, interval time.Duration, count int) error {
	m := topModel{interval: interval}
	for n := 0; count == 0 || n < count; n++ {
		if n > 0 {
			select {
			case <-time.After(interval):
			case <-ctx.Done():
				return nil
			}
		}
		l, err := LookAt(ctx, c)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if c.Output != "table" {
			if err := c.Show(l, "", nil); err != nil {
				return err
			}
			continue
		}
		m = m.saw(seen{look: l, at: time.Now()})
		if _, err := fmt.Fprintf(c.Out, "%s\n%s\n", m.now.at.Format(time.TimeOnly), m.text()); err != nil {
			return err
		}
	}
	return nil
}

// seen is the answer of the daemon at one moment, or the error instead.
type seen struct {
	look *look
	err  error
	at   time.Time
	turn int
}

// topModel is the live view. It has the present and the previous answer, for rates.
type topModel struct {
	interval      time.Duration
	ask           func() (*look, error)
	color         bool
	width, height int
	paused        bool
	turn          int // counts resumptions and refreshes; a timer or request of an earlier turn starts nothing
	before, now   seen
}

// wake is the message that it is time to ask again.
type wake struct{ turn int }

// Init asks for the first time.
func (m topModel) Init() tea.Cmd { return m.look }

func (m topModel) look() tea.Msg {
	l, err := m.ask()
	return seen{l, err, time.Now(), m.turn}
}

// saw takes an answer over. After an error the previous answer stays.
func (m topModel) saw(s seen) topModel {
	if s.err != nil {
		m.now.err = s.err
		return m
	}
	m.before, m.now = m.now, s
	return m
}

// Update handles keys, sizes of the terminal, and answers.
func (m topModel) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
	case seen:
		if m = m.saw(msg); msg.turn != m.turn {
			return m, nil
		}
		return m, tea.Tick(m.interval, func(time.Time) tea.Msg { return wake{msg.turn} })
	case wake:
		if m.paused || msg.turn != m.turn {
			return m, nil
		}
		return m, m.look
	case tea.KeyPressMsg:
		switch msg.String() {
		case "q", "esc", "ctrl+c":
			return m, tea.Quit
		case "space":
			if m.paused = !m.paused; m.paused {
				return m, nil
			}
			m.turn++
			return m, m.look
		case "r":
			m.turn++
			return m, m.look
		}
	}
	return m, nil
}

// View returns the part that fits on the screen.
func (m topModel) View() tea.View {
	lines := strings.Split(strings.TrimRight(m.text(), "\n"), "\n")
	help := fmt.Sprintf("every %v   space pauses, r looks again, q ends", m.interval)
	if m.paused {
		help = "PAUSED   space goes on, r looks again, q ends"
	}
	if m.height > 2 && len(lines) > m.height-2 {
		lines = append(lines[:m.height-3], fmt.Sprintf("… %d more lines", len(lines)-m.height+3))
	}
	lines = append(lines, "", help)
	for i, line := range lines {
		if m.width > 0 {
			lines[i] = ansi.Truncate(line, m.width, "…")
		}
	}
	if m.color && m.now.look != nil && m.now.err == nil {
		lines[0] = verdictColor(m.now.look.Healthy) + lines[0] + console.Plain
	}
	v := tea.NewView(strings.Join(lines, "\n"))
	v.AltScreen = true
	return v
}

// text returns the whole view without colour.
func (m topModel) text() string {
	var b bytes.Buffer
	switch {
	case m.now.look == nil && m.now.err == nil:
		return "looking…\n"
	case m.now.err != nil:
		fmt.Fprintf(&b, "no answer: %s\n", console.Visible(m.now.err.Error(), ""))
	default:
		fmt.Fprintln(&b, console.Visible(m.now.look.Sentence(), ""))
	}
	if m.now.look != nil {
		fmt.Fprintf(&b, "%s\n", m.rates())
		_ = m.now.look.Write(&b, m.now.at) // writes to a buffer do not fail
	}
	return b.String()
}

// rates returns how much happened per second between the last two answers.
func (m topModel) rates() string {
	if m.before.look == nil {
		return "writes -   merged -   conflicts -"
	}
	a, b := m.before.look.Stats, m.now.look.Stats
	rate := func(from, to uint64) string {
		if to < from { // the daemon has restarted
			return "-"
		}
		return fmt.Sprintf("%.1f/s", float64(to-from)/max(m.now.at.Sub(m.before.at).Seconds(), 0.001))
	}
	return fmt.Sprintf("writes %s   merged %s   conflicts %s", rate(a.Writes, b.Writes), rate(a.Store.Merged, b.Store.Merged), rate(a.Conflicts, b.Conflicts))
}
