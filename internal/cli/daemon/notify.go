package daemon

import (
	"net"
	"os"
)

// notify reports a state to systemd, if systemd has started this process and asks for it
// (sd_notify(3)). No library is used, since the protocol is one datagram.
func notify(state string) {
	addr := os.Getenv("NOTIFY_SOCKET")
	if addr == "" {
		return
	}
	if addr[0] == '@' {
		addr = "\x00" + addr[1:] // "@" stands for the abstract namespace
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: addr, Net: "unixgram"})
	if err != nil {
		return
	}
	defer conn.Close()
	_, _ = conn.Write([]byte(state)) // if it fails, systemd reports a time-out itself
}
