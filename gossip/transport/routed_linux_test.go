package transport

import (
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A bridge of containers that comes first in the list is not what others are told, if the
// default route is elsewhere.
func TestTheAddressOfTheDefaultRouteIsAdvertised(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("SKIP: needs root for a network namespace")
	}
	done := make(chan struct{})
	go func() { // its thread has the namespace, and ends with it
		defer close(done)
		runtime.LockOSThread()
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			t.Log("SKIP: no network namespaces here: ", err)
			return
		}
		if got, err := ownAddr(true); err == nil || !strings.Contains(err.Error(), "--advertise") {
			t.Errorf("without an address: %v, %v", got, err)
		}
		for _, line := range [][]string{
			{"link", "set", "lo", "up"},
			{"link", "add", "docker0", "type", "veth", "peer", "name", "docker1"}, {"addr", "add", "172.17.0.1/16", "dev", "docker0"}, {"link", "set", "docker0", "up"},
			{"link", "add", "eth0", "type", "veth", "peer", "name", "eth1"}, {"addr", "add", "203.0.113.7/24", "dev", "eth0"}, {"link", "set", "eth0", "up"}, {"link", "set", "docker1", "up"}, {"link", "set", "eth1", "up"},
		} {
			if said, err := exec.Command("ip", line...).CombinedOutput(); err != nil {
				t.Logf("SKIP: ip %v: %v: %s", line, err, said)
				return
			}
		}
		if got, err := ownAddr(true); err != nil || got.String() != "172.17.0.1" {
			t.Errorf("without a default route: %v, %v", got, err)
		}
		if said, err := exec.Command("ip", "route", "add", "default", "via", "203.0.113.1").CombinedOutput(); err != nil {
			t.Logf("SKIP: %v: %s", err, said)
			return
		}
		if got, err := ownAddr(true); err != nil || got.String() != "203.0.113.7" {
			t.Errorf("with a default route: %v, %v", got, err)
		}
	}()
	<-done
}
