package daemon

import (
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

// The environment of a pod has its address, of IPv4 or IPv6, without brackets or a port.
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
