package mcpserver

import (
	"context"
	"encoding/json"
	"io"
	"slices"
	"strconv"
	"sync"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// conn joins the HTTP requests of a session to the SDK, which reads from it what was
// posted and writes to it what it answers. The ids that the SDK sees are of our making:
// of the client's it keeps 53 bits and no fraction, so that two of them can be one.
type conn struct {
	id     string
	in     chan jsonrpc.Message
	closed chan struct{}
	close  func()
	out    outbox

	mu    sync.Mutex
	last  uint64
	asked map[string]*question // by our id
}

// question is a call that waits for its answer.
type question struct {
	id     json.RawMessage // as the client wrote it
	cancel context.CancelFunc
	answer chan json.RawMessage // has room for one
}

func newConn(id string) *conn {
	c := &conn{id: id, in: make(chan jsonrpc.Message), closed: make(chan struct{}), asked: map[string]*question{}}
	c.close = sync.OnceFunc(func() { close(c.closed) })
	c.out.more = make(chan struct{}, 1)
	return c
}

// Connect makes the connection a transport.
func (c *conn) Connect(context.Context) (mcp.Connection, error) { return c, nil }

// SupportsProtocolVersion leaves out what has no sessions.
func (c *conn) SupportsProtocolVersion(version string) bool { return version < stateless }

// SessionID is for the SDK.
func (c *conn) SessionID() string { return c.id }

// Close is for the SDK.
func (c *conn) Close() error {
	c.close()
	return nil
}

// Read returns what was posted.
func (c *conn) Read(ctx context.Context) (jsonrpc.Message, error) {
	select {
	case m := <-c.in:
		return m, nil
	case <-c.closed:
		return nil, io.EOF
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Write takes an answer to its question, and what the server tells by itself to the stream.
func (c *conn) Write(_ context.Context, m jsonrpc.Message) error {
	raw, err := jsonrpc.EncodeMessage(m)
	if err != nil {
		return err
	}
	answer, ok := m.(*jsonrpc.Response)
	if !ok {
		c.out.put(raw)
		return nil
	}
	id, _ := answer.ID.Raw().(string) // of our making
	c.mu.Lock()
	q := c.asked[id]
	delete(c.asked, id)
	c.mu.Unlock()
	if q == nil {
		return nil // nobody waits for it any more
	}
	if raw, err = withID(raw, q.id); err == nil {
		q.answer <- raw
	}
	return err
}

// post hands a message to the SDK. Of a call it returns the question that it is.
func (c *conn) post(m *message, extra any, cancel context.CancelFunc) (*question, error) {
	to := &jsonrpc.Request{Method: m.Method, Params: m.Params, Extra: extra}
	var q *question
	if m.call() {
		q = &question{m.ID, cancel, make(chan json.RawMessage, 1)}
		c.mu.Lock()
		c.last++
		id := strconv.FormatUint(c.last, 10)
		c.asked[id] = q
		c.mu.Unlock()
		to.ID, _ = jsonrpc.MakeID(id) // text always is an id
	}
	select {
	case c.in <- to:
		return q, nil
	case <-c.closed:
		return nil, errEnded
	}
}

// cancel ends the calls with an id of the client; all of them if it is nil.
func (c *conn) cancel(id json.RawMessage) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, q := range c.asked {
		if id == nil || string(q.id) == string(id) {
			q.cancel()
		}
	}
}

// outbox is what a session is told that did not ask: each thing once until its stream
// takes it.
type outbox struct {
	mu      sync.Mutex
	waiting []json.RawMessage
	more    chan struct{} // has room for one sign
	turn    chan struct{} // closed when another stream takes over
}

// maxOutbox bounds it: one update of each subscription, and some more.
const maxOutbox = maxSubscriptions + 16

func (o *outbox) put(raw json.RawMessage) {
	o.mu.Lock()
	defer o.mu.Unlock()
	same := func(other json.RawMessage) bool { return string(raw) == string(other) }
	if len(o.waiting) >= maxOutbox || slices.ContainsFunc(o.waiting, same) {
		return
	}
	o.waiting = append(o.waiting, raw)
	o.signal()
}

func (o *outbox) signal() {
	select {
	case o.more <- struct{}{}:
	default:
	}
}

func (o *outbox) take() []json.RawMessage {
	o.mu.Lock()
	defer o.mu.Unlock()
	all := o.waiting
	o.waiting = nil
	return all
}

// open begins a stream, and ends the one before: its client has come back.
func (o *outbox) open() (over <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.turn != nil {
		close(o.turn)
	}
	o.turn = make(chan struct{})
	if len(o.waiting) > 0 {
		o.signal()
	}
	return o.turn
}
