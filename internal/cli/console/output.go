package console

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"text/tabwriter"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/charmbracelet/x/term"
)

// Stdout and Stderr are the standard streams. All output of the commands goes through them.
var (
	Stdout = standard(os.Stdout, false)
	Stderr = standard(os.Stderr, true)
)

// Output is a standard stream. It remembers the first failure, so that a command fails even if
// it ignores the error of a write. Names, keys and values that others chose are escaped for a
// terminal, so that the terminal shows them and does not act on them.
type Output struct {
	to       io.Writer
	Terminal bool
	Color    bool
	visible  bool // characters that are not graphic are escaped
	messages bool // the stream carries messages, not data

	err     atomic.Pointer[error]
	mu      sync.Mutex
	waiting *waiting // nil unless it outlives its readers
}

// standard returns a stream. If f is no terminal, data stays as it is and messages are escaped.
func standard(f *os.File, messages bool) *Output {
	terminal := term.IsTerminal(f.Fd())
	return &Output{to: f, Terminal: terminal, Color: terminal && os.Getenv("NO_COLOR") == "", visible: terminal || messages, messages: messages}
}

func (o *Output) Write(p []byte) (int, error) {
	text := p
	if o.visible {
		text = []byte(Visible(string(p), "\n\t"))
	}
	if err := o.control(string(text)); err != nil {
		return 0, err
	}
	return len(p), nil
}

// control writes text of this program, which may contain control sequences.
func (o *Output) control(text string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	_, err := io.WriteString(o.to, text)
	if err != nil {
		o.err.CompareAndSwap(nil, &err)
	}
	return err
}

// Rewind clears the current line of a terminal.
func (o *Output) Rewind() {
	if o.Terminal {
		_ = o.control("\r\x1b[K")
	}
}

// Failure returns the first failure of a write, nil if there was none.
func (o *Output) Failure() error {
	err := o.err.Load()
	if err == nil {
		return nil
	}
	return fmt.Errorf("the output is not complete: %w", *err)
}

// These are the colours that Paint takes.
const (
	Red   = "\x1b[31m"
	Green = "\x1b[32m"
	Cyan  = "\x1b[36m"
	Plain = "\x1b[0m"
)

// Paint writes text in a colour if out is a terminal that shows colours.
func Paint(out io.Writer, color, text string) {
	o, ours := out.(*Output)
	if !ours || !o.Color {
		fmt.Fprint(out, text)
		return
	}
	_ = o.control(color)
	fmt.Fprint(o, text)
	_ = o.control(Plain)
}

// Tell prints a message to standard error, as one line.
func Tell(format string, args ...any) { fmt.Fprintf(Stderr, "sentinel-peer: "+format+"\n", args...) }

// The package charmbracelet/x/ansi is not used: its Strip removes escape sequences, which hides
// what somebody chose as a name, while Visible shows it.

// Visible returns the text with each character that is not graphic escaped as in JSON, except
// the characters in keep. So no name, key or value moves a terminal's cursor, ends a line or
// turns the direction of the text around it.
func Visible(text, keep string) string {
	var b strings.Builder
	for i, r := range text {
		size := utf8.RuneLen(r)
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(text[i:], string(utf8.RuneError)):
			fmt.Fprintf(&b, `\x%02x`, text[i])
		case unicode.IsGraphic(r) || strings.ContainsRune(keep, r):
			b.WriteString(text[i : i+size])
		case r > 0xFFFF:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// Table aligns rows of cells. Each cell is one line, escaped by Visible.
type Table struct{ w *tabwriter.Writer }

// NewTable returns a table with a header: column names with tabs between.
func NewTable(out io.Writer, header string) Table {
	t := Table{tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)}
	fmt.Fprintln(t.w, header)
	return t
}

// Flush prints the rows.
func (t Table) Flush() error { return t.w.Flush() }

// Row adds a row. A cell of raw JSON is shown as it is.
func (t Table) Row(cells ...any) {
	for i, cell := range cells {
		if raw, json := cell.(json.RawMessage); json {
			cell = string(raw)
		}
		if i > 0 {
			fmt.Fprint(t.w, "\t")
		}
		fmt.Fprint(t.w, Visible(fmt.Sprint(cell), ""))
	}
	fmt.Fprintln(t.w)
}
