package console

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestATerminalIsShownWhatItWouldActOn(t *testing.T) {
	for text, want := range map[string]string{
		"plain, ä, 漢, ½":        "plain, ä, 漢, ½",
		"\x1b[2J\a\x7f":         `\u001b[2J\u0007\u007f`,
		"\u009b31m\u0090":       `\u009b31m\u0090`,
		"\u202egnp.exe\u2066":   `\u202egnp.exe\u2066`,
		"\u200f\ufeff\u2028":    `\u200f\ufeff\u2028`,
		"\U000e0041":            `\udb40\udc41`,
		"a\r\nb\tc":             `a\u000d\u000ab\u0009c`,
		"\x9b31m\xff\ufffd":     `\x9b31m\xff` + "\ufffd",
		"one \u00a0 and \u3000": "one \u00a0 and \u3000",
	} {
		if got := Visible(text, ""); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

// Visible JSON is equal JSON, and Visible leaves nothing that a terminal acts on.
func FuzzVisible(f *testing.F) {
	f.Add("\x1b[2J\u202e\U000e0041")
	f.Fuzz(func(t *testing.T, text string) {
		shown := Visible(text, "\n\t")
		if shown != Visible(shown, "\n\t") {
			t.Errorf("%q is shown as %q", text, shown)
		}
		var before, after string
		raw, _ := json.Marshal(text)
		if err := errors.Join(json.Unmarshal(raw, &before), json.Unmarshal([]byte(Visible(string(raw), "")), &after)); err != nil || before != after {
			t.Errorf("%q became %q: %v", before, after, err)
		}
	})
}

func TestOnlyATerminalGetsDataInAnotherForm(t *testing.T) {
	const evil = "\x1b]0;x\a\u202e\n"
	for visible, want := range map[bool]string{false: evil, true: `\u001b]0;x\u0007\u202e` + "\n"} {
		var b bytes.Buffer
		o := &Output{to: &b, visible: visible, Color: visible}
		if n, err := io.WriteString(o, evil); n != len(evil) || err != nil || b.String() != want {
			t.Errorf("%d, %v: %q, want %q", n, err, &b, want)
		}
	}
	file, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, messages := range []bool{false, true} { // a log is looked at on a terminal later
		if got := standard(file, messages); got.visible != messages {
			t.Errorf("messages %t: visible %t", messages, got.visible)
		}
	}
	var b bytes.Buffer
	Paint(&Output{to: &b, visible: true, Color: true}, Green, "n\x1b[31m1")
	if want := "\x1b[32mn\\u001b[31m1\x1b[0m"; b.String() != want {
		t.Errorf("%q, want %q", &b, want)
	}
}

// A cell stays on one line, whatever it contains.
func TestNoNameMakesARowOfItsOwn(t *testing.T) {
	var b bytes.Buffer
	rows := NewTable(&b, "NAME\tSTATE")
	rows.Row("n1\nn2\talive", json.RawMessage(`"x"`))
	if err := rows.Flush(); err != nil {
		t.Fatal(err)
	}
	if want := "NAME                   STATE\n" + `n1\u000an2\u0009alive  "x"` + "\n"; b.String() != want {
		t.Errorf("%q, want %q", &b, want)
	}
}

func TestAFailedWriteIsRemembered(t *testing.T) {
	full := errors.New("full")
	o := &Output{to: failing{full}}
	if _, err := io.WriteString(o, "x"); err != full || !errors.Is(o.Failure(), full) {
		t.Errorf("%v, then %v", err, o.Failure())
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

// The commands print only through Stdout and Stderr, which make text visible and remember a
// failure. Exempt are these two, and programs of the user's, whose output is not changed.
func TestEverythingIsPrintedByTheOutput(t *testing.T) {
	direct := []string{"output.go", "lock.go", "fleet.go"}
	root, err := filepath.Glob("../*.go")
	if err != nil {
		t.Fatal(err)
	}
	below, err := filepath.Glob("../*/*.go")
	if err != nil || len(root) == 0 || len(below) == 0 {
		t.Fatalf("%d and %d files, %v", len(root), len(below), err)
	}
	for _, file := range slices.Concat(root, below) {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		found := regexp.MustCompile(`os\.Std(out|err)|fmt\.Print|\bprintln?\(`).Find(source)
		if found != nil && !strings.HasSuffix(file, "_test.go") && !slices.Contains(direct, filepath.Base(file)) {
			t.Errorf("%s: %s: use Stdout, Stderr or Tell", file, found)
		}
	}
}
