package cli

import (
	"errors"
	"io"
	"os"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// The files under deploy call commands and flags that exist.
func TestWhatIsDeployedCallsCommandsThatExist(t *testing.T) {
	check := func(file string, words []string) {
		t.Helper()
		cmd, rest, err := NewRoot("").Find(words)
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

// For each alert, a row of its tests expects that it fires.
func TestEachAlertIsTried(t *testing.T) {
	var alerts struct {
		Groups []struct{ Rules []struct{ Alert string } }
	}
	var tried struct {
		Tests []struct {
			Rows []struct {
				Name  string `yaml:"alertname"`
				Fires []any  `yaml:"exp_alerts"`
			} `yaml:"alert_rule_test"`
		}
	}
	for file, into := range map[string]any{"alerts.yml": &alerts, "alerts_test.yml": &tried} {
		text, err := os.ReadFile("../../deploy/prometheus/" + file)
		if err != nil {
			t.Fatal(err)
		}
		if err := yaml.Unmarshal(text, into); err != nil {
			t.Fatal(err)
		}
	}
	fires := map[string]bool{}
	for _, test := range tried.Tests {
		for _, row := range test.Rows {
			fires[row.Name] = fires[row.Name] || len(row.Fires) > 0
		}
	}
	for _, group := range alerts.Groups {
		for _, rule := range group.Rules {
			if !fires[rule.Alert] {
				t.Errorf("%s fires in no test", rule.Alert)
			}
		}
	}
}
