package daemon

import (
	"net"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

// A peer of --dev chooses another port where the usual one is taken and no flag names one.
func TestDevTakesFreePorts(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	go func() { // the listener is no peer
		for conn, err := taken.Accept(); err == nil; conn, err = taken.Accept() {
			conn.Close()
		}
	}()
	addr := taken.Addr().String()
	d := daemon{bind: addr, http: addr, name: "me"}
	end, err := d.develop(t.Context(), map[string]string{"bind": "default", "http": "flag", "state-dir": "default", "join": "default"})
	if err != nil {
		t.Fatal(err)
	}
	if d.bind != "127.0.0.1:0" || d.http != addr || d.name != "me" || d.join != nil {
		t.Errorf("%+v", d)
	}
	if _, err := os.Stat(d.stateDir); err != nil {
		t.Error(err)
	}
	end()
	if _, err := os.Stat(d.stateDir); err == nil {
		t.Error("the folder for state stays")
	}
}

func TestSystemdIsTold(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no datagrams between processes")
	}
	notify("READY=1") // nobody listens
	path := filepath.Join(t.TempDir(), "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	notify("READY=1")
	got := make([]byte, 64)
	if err := l.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if n, err := l.Read(got); err != nil || string(got[:n]) != "READY=1" {
		t.Errorf("%q, %v", got[:n], err)
	}
}
