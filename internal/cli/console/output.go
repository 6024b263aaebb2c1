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

// The standard streams. All that the commands print goes through them.
var (
	Stdout = standard(os.Stdout, false)
	Stderr = standard(os.Stderr, true)
)

// Output is a standard stream. It remembers the first failure, so that a command fails
// whether it looks at it or not. A terminal gets what others chose, such as names, keys
// and values, in a form that it shows and does not act on.
type Output struct {
	to       io.Writer
	Terminal bool
	Color    bool
	visible  bool // what is no graphic character is escaped
	messages bool // it is for those, not for data

	err     atomic.Pointer[error]
	mu      sync.Mutex
	waiting *waiting // nil unless it outlives its readers
}

// standard is a stream. What is no terminal gets data as it is, and messages visible.
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

// control writes text of our own, which may move the cursor.
func (o *Output) control(text string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	_, err := io.WriteString(o.to, text)
	if err != nil {
		o.err.CompareAndSwap(nil, &err)
	}
	return err
}

// Rewind begins the line of a terminal anew.
func (o *Output) Rewind() {
	if o.Terminal {
		_ = o.control("\r\x1b[K")
	}
}

// Failure is what went wrong with all that was printed, if something did.
func (o *Output) Failure() error {
	err := o.err.Load()
	if err == nil {
		return nil
	}
	return fmt.Errorf("the output is not complete: %w", *err)
}

// The colours of text that paint writes.
const (
	Red   = "\x1b[31m"
	Green = "\x1b[32m"
	Cyan  = "\x1b[36m"
	Plain = "\x1b[0m"
)

// Paint writes text in a colour, where out takes some.
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

// Tell prints a line to standard error.
func Tell(format string, args ...any) { fmt.Fprintf(Stderr, "sentinel-peer: "+format+"\n", args...) }

// ansi.Strip of charmbracelet/x takes escape sequences away, which hides what somebody chose as a
// name; here it is shown.

// Visible is text in which each character that is not graphic is escaped as JSON does,
// besides those that are kept: no name, key or value moves a terminal's cursor, ends a line
// or turns the direction of the text around it.
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

// Table aligns rows of cells, each of one line and visible.
type Table struct{ w *tabwriter.Writer }

// NewTable begins with a line of column names, tabs between them.
func NewTable(out io.Writer, header string) Table {
	t := Table{tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)}
	fmt.Fprintln(t.w, header)
	return t
}

// Flush prints the rows.
func (t Table) Flush() error { return t.w.Flush() }

// Row adds one; a cell of JSON shows as it is.
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
