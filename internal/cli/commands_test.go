package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/sentinel-peer/sentinel-peer/internal/api"
)

// Every command says what it does and has an example whose flags exist.
func TestEveryCommandHasAnExample(t *testing.T) {
	root := NewRoot("")
	seen := 0
	var look func(cmd *cobra.Command)
	look = func(cmd *cobra.Command) {
		if cmd.Hidden {
			return
		}
		seen++
		if cmd.Short == "" || cmd.Example == "" {
			t.Errorf("%s: short %q, example %q", cmd.CommandPath(), cmd.Short, cmd.Example)
		}
		if !strings.Contains(cmd.Example, cmd.CommandPath()) {
			t.Errorf("%s: its example does not call it: %q", cmd.CommandPath(), cmd.Example)
		}
		for line := range strings.Lines(cmd.Example) {
			checkExample(t, root, line)
		}
		for _, sub := range cmd.Commands() {
			look(sub)
		}
	}
	look(root)
	if seen < 45 {
		t.Errorf("only %d commands", seen)
	}
}

// checkExample checks the commands and flags of one line of an example.
func checkExample(t *testing.T, root *cobra.Command, line string) {
	for _, call := range strings.Split(line, "sentinel-peer ")[1:] {
		if cmd := checkCall(t, root, "an example", line, strings.Fields(call)); cmd != nil && cmd.HasSubCommands() {
			t.Errorf("%q: %s is no command by itself", line, cmd.CommandPath())
		}
	}
}

// checkCall checks one call of a command and its flags, and returns the command.
func checkCall(t *testing.T, root *cobra.Command, where, line string, words []string) *cobra.Command {
	cmd, _, err := root.Find(words)
	if err != nil || cmd == root {
		t.Errorf("%s: %q: no such command", where, line)
		return nil
	}
	cmd.InitDefaultHelpFlag()
	for _, word := range words {
		if word == "--" {
			break
		}
		flag, isFlag := strings.CutPrefix(strings.TrimRight(word, ")&;…"), "--")
		name, _, _ := strings.Cut(flag, "=")
		if isFlag && cmd.Flags().Lookup(name) == nil {
			t.Errorf("%s: %q: %s has no flag --%s", where, line, cmd.CommandPath(), name)
		}
	}
	return cmd
}

// The README and the documents call commands and flags that exist.
func TestDocumentsCallCommandsThatExist(t *testing.T) {
	root, calls := NewRoot(""), 0
	code := regexp.MustCompile("(?s)```.*?```|`[^`\n]+`")
	call := regexp.MustCompile("(?:^|[^\"])(sentinel-peer [a-z][^`\n#]*)")
	for _, pattern := range []string{"*.md", "*/*.md", "docs/*/*.md"} {
		files, err := filepath.Glob("../../" + pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, piece := range code.FindAll(text, -1) {
				for _, m := range call.FindAllStringSubmatch(string(piece), -1) {
					calls++
					checkCall(t, root, file, m[1], strings.Fields(m[1])[1:])
				}
			}
		}
	}
	if calls < 30 {
		t.Errorf("only %d calls", calls)
	}
}

// docs/cli.md names every command, and every exit code.
func TestTheManualNamesEveryCommand(t *testing.T) {
	text, err := os.ReadFile("../../docs/cli.md")
	if err != nil {
		t.Fatal(err)
	}
	var rows []string
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "| `") {
			rows = append(rows, strings.NewReplacer("|", " ", `\`, " ", "`", " ", ",", " ").Replace(line))
		}
	}
	named := func(words ...string) bool {
		return slices.ContainsFunc(rows, func(row string) bool {
			have := strings.Fields(row)
			return !slices.ContainsFunc(words, func(w string) bool { return !slices.Contains(have, w) })
		})
	}
	for _, cmd := range NewRoot("").Commands() {
		if cmd.Hidden {
			continue
		}
		if !named(cmd.Name()) {
			t.Errorf("docs/cli.md does not name %s", cmd.Name())
		}
		for _, sub := range cmd.Commands() {
			if !named(cmd.Name(), sub.Name()) {
				t.Errorf("docs/cli.md does not name %s %s", cmd.Name(), sub.Name())
			}
		}
	}
	for _, code := range []int{api.ExitOther, api.ExitUsage, api.ExitNotFound, api.ExitConflict, api.ExitNotAllowed, api.ExitUnreachable, api.ExitTimeout, api.ExitUnhealthy} {
		if !strings.Contains(string(text), fmt.Sprintf("\n| %d | ", code)) {
			t.Errorf("docs/cli.md does not say what exit code %d means", code)
		}
	}
}
