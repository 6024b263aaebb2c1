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

// conn joins the HTTP requests of a session to the SDK. The SDK reads the messages that were
// posted, and writes its answers. It sees ids that this package makes, since it keeps only 53 bits
// and no fraction of a client's id, so that two ids could become one.
type conn struct {
	id     string
	in     chan jsonrpc.Message
	closed chan struct{}
	close  func()
	out    outbox

	mu    sync.Mutex
	last  uint64
	asked map[string]*question // by the id that the SDK sees
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

// Connect makes the connection a transport of the SDK.
func (c *conn) Connect(context.Context) (mcp.Connection, error) { return c, nil }

// SupportsProtocolVersion excludes the versions without sessions.
func (c *conn) SupportsProtocolVersion(version string) bool { return version < stateless }

// SessionID implements mcp.Connection.
func (c *conn) SessionID() string { return c.id }

// Close implements mcp.Connection.
func (c *conn) Close() error {
	c.close()
	return nil
}

// Read returns the next message that was posted.
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

// Write passes an answer to its question, and notifications of the server to the stream.
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
	id, _ := answer.ID.Raw().(string) // an id that this package made
	c.mu.Lock()
	q := c.asked[id]
	delete(c.asked, id)
	c.mu.Unlock()
	if q == nil {
		return nil // the caller does not wait any more
	}
	if raw, err = withID(raw, q.id); err == nil {
		q.answer <- raw
	}
	return err
}

// post passes a message to the SDK. For a call it returns the question.
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
		to.ID, _ = jsonrpc.MakeID(id) // text is always a valid id
	}
	select {
	case c.in <- to:
		return q, nil
	case <-c.closed:
		return nil, errEnded
	}
}

// cancel ends the calls with an id of the client's; all calls if the id is nil.
func (c *conn) cancel(id json.RawMessage) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, q := range c.asked {
		if id == nil || string(q.id) == string(id) {
			q.cancel()
		}
	}
}

// outbox holds the notifications for a session, each of them once, until a stream sends them.
type outbox struct {
	mu      sync.Mutex
	waiting []json.RawMessage
	more    chan struct{} // has room for one value: there is something to send
	turn    chan struct{} // closed when another stream takes over
}

// maxOutbox bounds an outbox: one update for each subscription, and a few others.
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

// open begins a stream, and ends the previous one, whose client has come back.
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
