package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// Every command says what it does and shows how it is called, with flags that exist.
func TestEveryCommandHasAnExample(t *testing.T) {
	root := newRoot()
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

// checkExample looks for the commands and flags of an example's line.
func checkExample(t *testing.T, root *cobra.Command, line string) {
	for _, call := range strings.Split(line, "sentinel-peer ")[1:] {
		words := strings.Fields(call)
		cmd, _, err := root.Find(words)
		if err != nil || cmd.HasSubCommands() {
			t.Errorf("%q: no such command", line)
			continue
		}
		cmd.InitDefaultHelpFlag()
		for _, word := range words {
			if word == "--" {
				break
			}
			flag, isFlag := strings.CutPrefix(strings.TrimRight(word, ")&;"), "--")
			name, _, _ := strings.Cut(flag, "=")
			if isFlag && cmd.Flags().Lookup(name) == nil {
				t.Errorf("%q: %s has no flag --%s", line, cmd.CommandPath(), name)
			}
		}
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
	for _, cmd := range newRoot().Commands() {
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
	for _, code := range []int{exitOther, exitUsage, exitNotFound, exitConflict, exitNotAllowed, exitUnreachable, exitTimeout, exitUnhealthy} {
		if !strings.Contains(string(text), fmt.Sprintf("\n| %d | ", code)) {
			t.Errorf("docs/cli.md does not say what exit code %d means", code)
		}
	}
}
