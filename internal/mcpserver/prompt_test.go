package mcpserver

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// one is a listener with one connection, an in-memory pipe, so that time can be virtual.
type one struct {
	conn chan net.Conn
	done chan struct{}
}

func (l *one) Accept() (net.Conn, error) {
	select {
	case c := <-l.conn:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}
func (l *one) Close() error   { close(l.done); return nil }
func (l *one) Addr() net.Addr { return &net.TCPAddr{} }

// prompted serves one request by h, behind a server whose time-out for writes is one second.
func prompted(t *testing.T, h func(w http.ResponseWriter), client func(c net.Conn)) {
	t.Helper()
	ours, theirs := net.Pipe()
	l := &one{make(chan net.Conn, 1), make(chan struct{})}
	l.conn <- theirs
	server := &http.Server{WriteTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		h(&prompt{w, http.NewResponseController(w)})
	})}
	go func() { _ = server.Serve(l) }()
	if _, err := io.WriteString(ours, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	client(ours)
	_ = ours.Close()
	_ = server.Close()
}

func TestAStreamOutlivesTheServersTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		prompted(t, func(w http.ResponseWriter) {
			for range 3 {
				time.Sleep(time.Hour)
				_, _ = io.WriteString(w, "event\n")
				_ = http.NewResponseController(w).Flush()
			}
		}, func(c net.Conn) {
			res, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Fatal(err)
			}
			if body, err := io.ReadAll(res.Body); string(body) != "event\nevent\nevent\n" {
				t.Errorf("got %q, %v", body, err)
			}
		})
	})
}

func TestAClientThatDoesNotReadIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		took := make(chan time.Duration, 1)
		prompted(t, func(w http.ResponseWriter) {
			began := time.Now()
			var err error
			for err == nil {
				_, err = w.Write(make([]byte, 1<<16))
			}
			took <- time.Since(began)
		}, func(net.Conn) {
			if d := <-took; d != writeTimeout {
				t.Errorf("cut off after %v; want %v", d, writeTimeout)
			}
		})
	})
}
