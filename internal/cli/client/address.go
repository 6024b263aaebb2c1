package client

import (
	"net"
	"strconv"
	"strings"
)

// DefaultHTTP is where the daemon serves and the commands look for it.
const DefaultHTTP = "127.0.0.1:7700"

// baseOf returns the URL at an address, which may be a URL itself, for TLS.
func baseOf(addr string) string {
	if strings.Contains(addr, "://") {
		return strings.TrimSuffix(addr, "/")
	}
	return "http://" + Dialled(addr)
}

// Dialled is an address as it is called: a daemon that listens everywhere is reached on
// loopback, and one whose port is not given at the usual one.
func Dialled(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		whole := strings.Trim(addr, "[]")
		if whole == "" || strings.Contains(whole, ":") && net.ParseIP(whole) == nil {
			return addr
		}
		_, usual, _ := net.SplitHostPort(DefaultHTTP)
		host, port = whole, usual
	}
	if host == "" || net.ParseIP(host).IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}

// portExists says that a URL may have this port, or none.
func portExists(port string) bool {
	_, err := strconv.ParseUint(port, 10, 16)
	return port == "" || err == nil
}

// IsLoopback says whether a host is this machine, whoever resolves its name.
func IsLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// HostPort is an address, or that of a URL.
func HostPort(addr string) string {
	_, rest, url := strings.Cut(addr, "://")
	if !url {
		return addr
	}
	rest, _, _ = strings.Cut(rest, "/")
	return rest
}
