package sim

import (
	"embed"
	"fmt"
	"strings"
)

//go:embed scenarios/*.txt
var scenarios embed.FS

// Scenarios returns the names of the scenarios that come with the package.
func Scenarios() []string {
	files, err := scenarios.ReadDir("scenarios")
	if err != nil {
		panic(err) // it is embedded
	}
	var names []string
	for _, f := range files {
		names = append(names, strings.TrimSuffix(f.Name(), ".txt"))
	}
	return names
}

// Scenario returns a scenario by name, with the comment that says what it shows.
func Scenario(name string) (Script, string, error) {
	text, err := scenarios.ReadFile("scenarios/" + name + ".txt")
	if err != nil {
		return Script{}, "", fmt.Errorf("no scenario %q; there are %s", name, strings.Join(Scenarios(), ", "))
	}
	script, err := ParseScript(string(text))
	var about []string
	for line := range strings.Lines(string(text)) {
		comment, ok := strings.CutPrefix(line, "#")
		if !ok {
			break
		}
		about = append(about, strings.TrimSpace(comment))
	}
	return script, strings.Join(about, " "), err
}
