package mcpserver

import (
	"fmt"
	"runtime/debug"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
)

// recovered is deferred. It turns a panic into an error of the daemon, which is logged and counted.
// The SDK calls handlers on goroutines of its own, where a panic would end the daemon.
func (s *Server) recovered(what string, err *error) {
	p := recover()
	if p == nil {
		return
	}
	s.cfg.Logger.Error("a call panicked; please report this", "call", what, "panic", p, "stack", string(debug.Stack()))
	if s.cfg.Panicked != nil {
		s.cfg.Panicked()
	}
	*err = &jsonrpc.Error{Code: jsonrpc.CodeInternalError, Message: fmt.Sprint("panic: ", p)}
}
