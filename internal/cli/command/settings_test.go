package command

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"

	"github.com/sentinel-peer/sentinel-peer/internal/cli/console"
)

// daemonFlags returns flags of each kind.
func daemonFlags() *pflag.FlagSet {
	f := pflag.NewFlagSet("", pflag.ContinueOnError)
	f.String("config", "", "")
	f.String("name", "", "")
	f.String("cluster", "", "")
	f.StringSlice("voters", nil, "")
	f.Duration("max-ttl", 15*time.Second, "")
	f.Duration("batch-interval", 100*time.Millisecond, "")
	f.VisitAll(NeverBlank)
	return f
}

// The value of a scalar in the file is its text, as it would be on the command line.
func TestAScalarOfTheFileIsItsText(t *testing.T) {
	for line, want := range map[string][]string{
		"name: 0123": {"0123"}, "name: 007": {"007"}, "name: 1e3": {"1e3"}, "name: 3.10": {"3.10"}, "name: 0x1F": {"0x1F"},
		"name: 2026-01-02": {"2026-01-02"}, "name: 2026-01-02T03:04:05Z": {"2026-01-02T03:04:05Z"}, "name: 12:30": {"12:30"},
		"name: yes": {"yes"}, "name: True": {"True"}, "name: .inf": {".inf"}, "name: 1_000": {"1_000"}, `name: "null"`: {"null"}, "name: '~'": {"~"},
		"name: 99999999999999999999": {"99999999999999999999"}, "name: !!int 08": {"08"}, "name: &a 010": {"010"},
		"voters: [01]": {"01"}, "voters: [1e3, 3.10, n1]": {"1e3", "3.10", "n1"}, "voters: 01": {"01"}, "voters:\n- 01\n- 2": {"01", "2"},
		"name:": nil, "name: null": nil, "name: ~": nil, `name: ""`: nil, "voters:": nil, "voters: ~": nil, "voters: []": nil,
		"": nil, "# nothing": nil, "---": nil, "null": nil,
	} {
		values, err := parseSettings(daemonFlags(), []byte(line))
		if got := slices.Concat(values["name"], values["voters"]); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %q, %v; want %q", line, got, err, want)
		}
	}
	for line, want := range map[string]string{
		"name: [a]": "line 1: name: want one value", "name: {a: b}": "line 1: name: want one value", "voters: {a: b}": "voters: want one value or a list",
		"voters: [a, ]\nname: x\nvoters: b": "line 3: voters is there twice", "voters: [a, ~]": "none of them empty", "voters: [[a]]": "want a list of values",
		"voters: [a, '']": "none of them empty", "- a": "want lines of KEY: VALUE", "text": "want lines of KEY: VALUE", "config: x": `unknown key "config"`, "[a]: b": "unknown key",
		"x: &x [*x]": "unknown key",
	} {
		if _, err := parseSettings(daemonFlags(), []byte(line)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", line, err, want)
		}
	}
}

// A key without a value leaves the flag at its default, also where the default is not the zero
// value, and where SIGHUP compares settings.
func TestAnEmptySettingIsNone(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(file, []byte("voters:\nname:\nmax-ttl: ~\nbatch-interval: null\ncluster: farm\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	flags, untouched := daemonFlags(), daemonFlags()
	origins, err := SettleFlags(t.Context(), flags, file)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{"voters", "name", "max-ttl", "batch-interval"} {
		if got, want := flags.Lookup(f).Value.String(), untouched.Lookup(f).Value.String(); got != want || origins[f] != "default" {
			t.Errorf("%s is %s, from %s", f, got, origins[f])
		}
	}
}

// The output of config show is read back as the same values, whatever characters they have.
func FuzzConfigShow(f *testing.F) {
	for _, text := range []string{"0123", "1e3", "~", "null", "a: b", "- x", "\"", "'", "|", "x\ny", "#", "2026-01-02", " ", "\t", "<<", "*a", "&a", "!!int"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if text == "" || !utf8.ValidString(text) || strings.ContainsFunc(text, unprintable) {
			return
		}
		var b bytes.Buffer
		if err := WriteYAML(&b, []Setting{{"name", text, "flag"}, {"voters", []string{text, "n2"}, "flag"}}, false); err != nil {
			t.Fatal(err)
		}
		values, err := parseSettings(daemonFlags(), b.Bytes())
		if err != nil || !slices.Equal(values["name"], []string{text}) || !slices.Equal(values["voters"], []string{text, "n2"}) {
			t.Errorf("%q became %q, %v by\n%s", text, values, err, &b)
		}
	})
}

func unprintable(r rune) bool { return console.Visible(string(r), "") != string(r) }

// The reader of settings does not crash or hang, whatever a file contains.
func FuzzSettings(f *testing.F) {
	f.Add("name: &a x\nvoters: [*a, 1]")
	f.Add("a: &a [*a]")
	f.Fuzz(func(t *testing.T, text string) {
		values, err := parseSettings(daemonFlags(), []byte(text))
		var decoded map[string]yaml.Node
		if err == nil && len(values) > 0 && yaml.Unmarshal([]byte(text), &decoded) != nil {
			t.Errorf("%q is %q", text, values)
		}
	})
}
