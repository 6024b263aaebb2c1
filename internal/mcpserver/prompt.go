package mcpserver

import (
	"net/http"
	"time"
)

// writeTimeout is how long a client may take to accept a message.
const writeTimeout = 10 * time.Second

// prompt is a response each of whose writes has a deadline of its own. So a stream may outlast the
// server's time-out, while a client that does not read is cut off.
type prompt struct {
	http.ResponseWriter
	out *http.ResponseController
}

// WriteHeader sets the deadline too, since it may send the headers.
func (p *prompt) WriteHeader(status int) {
	_ = p.out.SetWriteDeadline(time.Now().Add(writeTimeout))
	p.ResponseWriter.WriteHeader(status)
}

func (p *prompt) Write(b []byte) (int, error) {
	_ = p.out.SetWriteDeadline(time.Now().Add(writeTimeout))
	return p.ResponseWriter.Write(b)
}

// FlushError is called by http.ResponseController.
func (p *prompt) FlushError() error {
	_ = p.out.SetWriteDeadline(time.Now().Add(writeTimeout))
	return p.out.Flush()
}

// Unwrap is called by http.ResponseController.
func (p *prompt) Unwrap() http.ResponseWriter { return p.ResponseWriter }
