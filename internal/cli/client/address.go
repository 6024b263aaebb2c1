package client

import (
	"net"
	"strconv"
	"strings"
)

// DefaultHTTP is the address at which a daemon serves HTTP, and at which commands expect it.
const DefaultHTTP = "127.0.0.1:7700"

// baseOf returns the URL of an address. An address that is a URL already stays one.
func baseOf(addr string) string {
	if strings.Contains(addr, "://") {
		return strings.TrimSuffix(addr, "/")
	}
	return "http://" + Dialled(addr)
}

// Dialled returns the address to connect to. A daemon that listens on all addresses is
// reached on loopback; an address without a port gets that of DefaultHTTP.
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

// portExists reports whether the port of a URL is absent or a number up to 65535.
func portExists(port string) bool {
	_, err := strconv.ParseUint(port, 10, 16)
	return port == "" || err == nil
}

// IsLoopback reports whether a host is this machine by its name or address alone, without DNS.
func IsLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// HostPort returns the host and port of an address or a URL.
func HostPort(addr string) string {
	_, rest, url := strings.Cut(addr, "://")
	if !url {
		return addr
	}
	rest, _, _ = strings.Cut(rest, "/")
	return rest
}
