package cli

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestWhatIsNoPeerIsNotJoined(t *testing.T) {
	for seed, good := range map[string]bool{
		"n1.local:7946": true, "n1": true, "10.0.0.1:7946": true, "::1": true, "[::1]": true, "[fd00::1]:7946": true, "fe80::1%eth0": true,
		"http://n1:7946": false, "http://n1": false, "https://n1/": false, "n1:port": false, "n1:70000": false, ":7946": false, "a:b:c": false, "n1/x": false, "": false,
	} {
		if err := joinable(seed); (err == nil) != good || err != nil && !strings.Contains(err.Error(), "--join") {
			t.Errorf("%q: %v", seed, err)
		}
	}
}

// A pod knows its address, of either kind, and not how one writes a port behind it.
func TestAnAddressAloneHasTheUsualPort(t *testing.T) {
	for addr, want := range map[string]string{
		"10.0.0.1": "10.0.0.1:7946", "fd00::1": "[fd00::1]:7946", "[fd00::1]": "[fd00::1]:7946", "[fd00::1]:1": "[fd00::1]:1",
		"10.0.0.1:1": "10.0.0.1:1", "n1": "n1:7946", ":1": ":1", "a:b:c": "a:b:c",
	} {
		d := daemon{bind: addr, advertise: addr}
		if d.complete(); d.bind != want {
			t.Errorf("%q: %s, want %s", addr, d.bind, want)
		}
	}
	d := daemon{bind: "0.0.0.0:9", advertise: "fd00::1"}
	if d.complete(); d.advertise != "[fd00::1]:9" {
		t.Errorf("advertises %s", d.advertise)
	}
}

func TestATokenGoesIntoThePlainOnLoopbackOnly(t *testing.T) {
	t.Setenv(tokenVariable, "sesame")
	for _, c := range []struct {
		addr         string
		plain, wrong bool
	}{
		{"127.0.0.1:7700", false, false}, {"localhost:1", false, false}, {"[::1]:1", false, false}, {"0.0.0.0:1", false, false},
		{"https://db1:1", false, false}, {"db1:1", false, true}, {"http://10.0.0.1:1", false, true}, {"db1:1", true, false},
	} {
		asked := client{addr: c.addr, plainToken: c.plain}
		if err := asked.prepare(t.Context()); (err != nil) != c.wrong || err != nil && !strings.Contains(err.Error(), "--plain-token") {
			t.Errorf("%+v: %v", c, err)
		}
	}
	t.Setenv(tokenVariable, "")
	if err := (&client{addr: "db1:1"}).prepare(t.Context()); err != nil {
		t.Errorf("without a token: %v", err)
	}
}

func TestCommandsDoNotGetOurToken(t *testing.T) {
	t.Setenv(tokenVariable, "sesame")
	if env := strings.Join(commandEnv(), "\n"); strings.Contains(env, "sesame") || !strings.Contains(env, "PATH=") {
		t.Error(env)
	}
}

func TestAKeyIsItsOwnersAlone(t *testing.T) {
	self, err := exec.LookPath("sentinel-peer")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "key")
	if said, err := exec.Command(self, "keygen", file).CombinedOutput(); err != nil || len(said) > 0 {
		t.Fatalf("%v: %s", err, said)
	}
	if keys, err := readKeys(t.Context(), file); err != nil || len(keys) != 1 || readByOthers(t.Context(), file) {
		t.Errorf("%d keys, %v, read by others %t", len(keys), err, readByOthers(t.Context(), file))
	}
	before, _ := os.ReadFile(file)
	if exec.Command(self, "keygen", file).Run() == nil {
		t.Error("a key that was there is gone")
	}
	if after, _ := os.ReadFile(file); !bytes.Equal(before, after) {
		t.Error("it is another now")
	}
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	said, _ := exec.Command(self, "agent", "--name", "n1", "--key-file", file).CombinedOutput()
	if !bytes.Contains(said, []byte("others than its owner may read")) || !bytes.Contains(said, []byte(file)) {
		t.Errorf("it is not named: %s", said)
	}
}
