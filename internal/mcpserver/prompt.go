package mcpserver

import (
	"net/http"
	"time"
)

// writeTimeout is how long a client may take to accept a message.
const writeTimeout = 10 * time.Second

// prompt is a response whose every write has a deadline of its own: a stream outlives
// the server's timeout, and a client that does not read is cut off.
type prompt struct {
	http.ResponseWriter
	out *http.ResponseController
}

// WriteHeader may be where headers are sent.
func (p *prompt) WriteHeader(status int) {
	_ = p.out.SetWriteDeadline(time.Now().Add(writeTimeout))
	p.ResponseWriter.WriteHeader(status)
}

func (p *prompt) Write(b []byte) (int, error) {
	_ = p.out.SetWriteDeadline(time.Now().Add(writeTimeout))
	return p.ResponseWriter.Write(b)
}

// FlushError is for http.ResponseController.
func (p *prompt) FlushError() error {
	_ = p.out.SetWriteDeadline(time.Now().Add(writeTimeout))
	return p.out.Flush()
}

// Unwrap is for http.ResponseController.
func (p *prompt) Unwrap() http.ResponseWriter { return p.ResponseWriter }
