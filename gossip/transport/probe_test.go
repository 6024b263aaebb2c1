package transport

import (
	"bytes"
	"net"
	"strings"
	"testing"
)

func TestProbeSaysWhoWouldTakeUs(t *testing.T) {
	sealed := openPeer(t, "s", withKey)
	f := func(addr, cluster string, keys [][]byte, want string) {
		t.Helper()
		if err := Probe(t.Context(), addr, cluster, keys); want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v; want %q", cluster, err, want)
		}
	}
	f(sealed.addr, "test", [][]byte{testKey}, "")
	f(sealed.addr, "other", [][]byte{testKey}, "another cluster")
	until(t, "the count of a stranger", func() bool { return sealed.Stats().Refused["wrong_cluster"] == 1 })
	if n := sealed.Stats().Refused["wrong_target"]; n != 0 {
		t.Errorf("%d probes are counted as refused", n)
	}
	f(sealed.addr, "test", [][]byte{bytes.Repeat([]byte{1}, 32)}, "does not have our key")
	f(sealed.addr, "test", nil, "does not have our key")
	if n := len(sealed.Members()); n != 1 {
		t.Errorf("a probe made %d members", n)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	f(l.Addr().String(), "test", nil, "refused")
}
