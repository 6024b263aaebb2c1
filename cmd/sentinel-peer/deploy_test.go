package main

import (
	"errors"
	"io"
	"os"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// What is deployed calls commands and flags that exist.
func TestWhatIsDeployedCallsCommandsThatExist(t *testing.T) {
	check := func(file string, words []string) {
		t.Helper()
		cmd, rest, err := newRoot().Find(words)
		if err != nil || cmd.Parent() == nil {
			t.Errorf("%s: %q is no command: %v", file, words, err)
			return
		}
		cmd.InitDefaultHelpFlag()
		if err := cmd.ParseFlags(rest); err != nil {
			t.Errorf("%s: %q: %v", file, words, err)
		}
	}
	read := func(file string) string {
		t.Helper()
		text, err := os.ReadFile("../../" + file)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}

	kinds := map[string]bool{}
	const manifests = "deploy/kubernetes/sentinel-peer.yaml"
	for d := yaml.NewDecoder(strings.NewReader(read(manifests))); ; {
		var object struct {
			Kind string
			Spec struct {
				Template struct {
					Spec struct {
						Containers []struct {
							Args           []string
							StartupProbe   struct{ Exec struct{ Command []string } } `yaml:"startupProbe"`
							ReadinessProbe struct{ Exec struct{ Command []string } } `yaml:"readinessProbe"`
						}
					}
				}
			}
		}
		err := d.Decode(&object)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		kinds[object.Kind] = true
		for _, c := range object.Spec.Template.Spec.Containers {
			check(manifests, c.Args)
			check(manifests, c.StartupProbe.Exec.Command[1:])
			check(manifests, c.ReadinessProbe.Exec.Command[1:])
		}
	}
	for _, want := range []string{"StatefulSet", "Service", "PodDisruptionBudget"} {
		if !kinds[want] {
			t.Errorf("%s: no %s", manifests, want)
		}
	}

	const unit = "deploy/systemd/sentinel-peer.service"
	start := regexp.MustCompile(`(?m)^ExecStart=\S+ (.*)$`).FindStringSubmatch(read(unit))
	check(unit, strings.Fields(start[1]))
	health := regexp.MustCompile(`(?m)^HEALTHCHECK .* CMD \["/sentinel-peer", (.*)\]$`).FindStringSubmatch(read("Dockerfile"))
	check("Dockerfile", strings.Fields(strings.NewReplacer(`"`, "", ",", "").Replace(health[1])))
}
