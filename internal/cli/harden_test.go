package cli

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// ignored returns a function that says whether .dockerignore keeps a path out of the build.
func ignored(t *testing.T) func(path string) bool {
	text, err := os.ReadFile("../../.dockerignore")
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		// A pattern matches a whole path; everything below a folder that it matches is left out
		// too.
		pattern := strings.NewReplacer(`\*\*/`, "(.*/)?", `\*`, "[^/]*").Replace(regexp.QuoteMeta(line))
		all = append(all, "^"+pattern+"(/.*)?$")
	}
	return regexp.MustCompile(strings.Join(all, "|")).MatchString
}

func TestNoSecretGoesIntoTheImage(t *testing.T) {
	out := ignored(t)
	for _, secret := range []string{"key", "sub/key", "key.old", "farm.key", "certs/tls.key", "tls.pem", "a.p12", ".env", ".env.local",
		"deploy/.env", "tokens", "tokens.txt", ".netrc", ".npmrc", "id_ed25519", "secrets/key2", ".git/config"} {
		if !out(secret) {
			t.Errorf("%s would be in the image's first stage", secret)
		}
	}
	err := filepath.WalkDir("../..", func(path string, e fs.DirEntry, err error) error {
		path, _ = strings.CutPrefix(path, "../../")
		switch {
		case err != nil:
			return err
		case e.IsDir() && slices.Contains([]string{".git", "bench", "testdata", "bin", "dist", "node_modules"}, e.Name()):
			return fs.SkipDir
		case !e.IsDir() && slices.Contains([]string{".go", ".mod", ".sum", ".html", ".css", ".js"}, filepath.Ext(path)) && out(path):
			t.Errorf("%s is left out, and built", path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestADaemonOfSystemdDumpsNoMemory(t *testing.T) {
	unit, err := os.ReadFile("../../deploy/systemd/sentinel-peer.service")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(unit, []byte("\nLimitCORE=0\n")) {
		t.Error("a dump of memory would have the key in it")
	}
}

// The network policy selects the pods of the manifest, and opens the gossip port to such pods only.
func TestTheNetworkPolicyKnowsThePeers(t *testing.T) {
	type selector struct {
		MatchLabels map[string]string `yaml:"matchLabels"`
	}
	type port struct {
		Port     int
		Protocol string
	}
	var policy struct {
		Kind string
		Spec struct {
			PodSelector selector `yaml:"podSelector"`
			PolicyTypes []string `yaml:"policyTypes"`
			Ingress     []struct {
				From []struct {
					PodSelector       selector  `yaml:"podSelector"`
					NamespaceSelector *selector `yaml:"namespaceSelector"`
				}
				Ports []port
			}
		}
	}
	decode := func(file string) *yaml.Decoder {
		text, err := os.ReadFile("../../deploy/kubernetes/" + file)
		if err != nil {
			t.Fatal(err)
		}
		return yaml.NewDecoder(bytes.NewReader(text))
	}
	if err := decode("networkpolicy.yaml").Decode(&policy); err != nil || policy.Kind != "NetworkPolicy" {
		t.Fatalf("%q, %v", policy.Kind, err)
	}
	var pods struct {
		Spec struct {
			Template struct {
				Metadata struct{ Labels map[string]string }
			}
		}
	}
	for d := decode("sentinel-peer.yaml"); pods.Spec.Template.Metadata.Labels == nil; {
		if err := d.Decode(&pods); errors.Is(err, io.EOF) {
			t.Fatal("no pods in the manifest")
		} else if err != nil {
			t.Fatal(err)
		}
	}
	labels := pods.Spec.Template.Metadata.Labels
	covers := func(s selector) bool {
		for name, value := range s.MatchLabels {
			if labels[name] != value {
				return false
			}
		}
		return len(s.MatchLabels) > 0
	}
	if !covers(policy.Spec.PodSelector) || !slices.Equal(policy.Spec.PolicyTypes, []string{"Ingress"}) {
		t.Errorf("the policy is not for pods with %v", labels)
	}
	open := map[port]bool{}
	for _, rule := range policy.Spec.Ingress {
		if len(rule.From) == 0 || len(rule.Ports) == 0 {
			t.Error("a rule is open to all, or at all ports")
		}
		for _, p := range rule.Ports {
			open[p] = true
			for _, from := range rule.From {
				if from.NamespaceSelector != nil || covers(from.PodSelector) != (p.Port == 7946) || len(from.PodSelector.MatchLabels) == 0 {
					t.Errorf("port %d is open to %v", p.Port, from)
				}
			}
		}
	}
	for _, want := range []port{{7946, "TCP"}, {7946, "UDP"}, {7700, "TCP"}} {
		if !open[want] {
			t.Errorf("%v is not open", want)
		}
	}
	if len(open) != 3 {
		t.Errorf("%v are open", open)
	}
}
