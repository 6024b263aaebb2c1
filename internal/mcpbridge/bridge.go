package mcpbridge

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Config configures a bridge.
type Config struct {
	URL  string // the daemon's MCP endpoint
	Send func(*http.Request) (*http.Response, error)
	// Patience is how long the client's initialize waits for a daemon that is not up yet. Other
	// requests do not wait.
	Patience time.Duration
	Logger   *slog.Logger
}

const (
	maxRequests = 64 // requests under way at once; the next line is read when one ends
	requestTime = time.Minute
	promptly    = 5 * time.Second // the limit for requests that a daemon answers at once and for which others wait
	lastAnswers = 2 * time.Second // how long requests under way may take after the client's input has ended
	farewell    = 2 * time.Second
	retryAfter  = 250 * time.Millisecond
)

// bridge connects one client to its daemon.
type bridge struct {
	cfg     Config
	session session
	lines   chan []byte             // messages for the client, one a line
	deaf    context.Context         // ends when, after the end, the client has not read for a while
	gone    context.CancelCauseFunc // called when the client does not read any more
	calls   sync.WaitGroup
	streams sync.WaitGroup // streams of messages that the daemon sends unasked
	hangUp  context.Context
}

// Run forwards the lines of r until r or ctx ends. Requests under way when r ends are still
// answered if that takes at most 2 s; then the daemon is told that nobody waits for them. A client
// that does not read is given up 2 s after the end. Only messages are written to w.
func Run(ctx context.Context, r io.Reader, w io.Writer, cfg Config) error {
	ctx, gone := context.WithCancelCause(ctx)
	defer gone(nil)
	streaming, hangUp := context.WithCancel(ctx)
	deaf, giveUp := context.WithCancel(context.WithoutCancel(ctx))
	defer giveUp()
	defer context.AfterFunc(ctx, func() {
		if pause(deaf, lastAnswers) {
			giveUp()
		}
	})()
	b := &bridge{cfg: cfg, lines: make(chan []byte), deaf: deaf, gone: gone, hangUp: streaming}
	written := make(chan struct{})
	go func() { // ends with w: a write cannot be interrupted
		defer close(written)
		b.deliver(w)
	}()
	err := b.read(ctx, r)
	b.calls.Wait()
	if context.Cause(ctx) == errInputEnded {
		err = nil
	}
	hangUp()
	b.streams.Wait()
	close(b.lines)
	gone(nil) // from now on the client has a limited time to read
	select {
	case <-written:
	case <-deaf.Done():
		err = cmp.Or(err, errDeaf)
	}
	b.leave(context.WithoutCancel(ctx))
	return err
}

// deliver writes the lines until there are no more.
func (b *bridge) deliver(w io.Writer) {
	for line := range b.lines {
		if _, err := w.Write(line); err != nil {
			b.gone(fmt.Errorf("writing to the client: %w", err))
		}
	}
}

var (
	errInputEnded = errors.New("the input has ended")
	errDeaf       = errors.New("the client does not read its answers")
)

// read reads lines and forwards them, until there are no more.
func (b *bridge) read(ctx context.Context, r io.Reader) error {
	type result struct {
		line []byte
		err  error
	}
	lines := make(chan result)
	go func() { // ends with r: a read cannot be interrupted
		for in, ok := bufio.NewReader(r), true; ok; {
			line, err := readLine(in)
			if ok = err == nil || err == errLong; !ok {
				end := time.AfterFunc(lastAnswers, func() { b.gone(errInputEnded) })
				context.AfterFunc(ctx, func() { end.Stop() })
			}
			select {
			case lines <- result{line, err}:
			case <-ctx.Done():
				return
			}
		}
	}()
	room := make(chan struct{}, maxRequests)
	for {
		select {
		case l := <-lines:
			switch {
			case l.err == errLong:
				b.write((&message{}).failed(codeInvalid, fmt.Sprintf("the line has over %d bytes", maxLine)))
			case l.err == io.EOF:
				return nil
			case l.err != nil:
				return l.err
			default:
				b.take(ctx, l.line, room)
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// take forwards one line. Requests run concurrently. A message that must come before later ones,
// such as a notification, is forwarded before the next line is taken.
func (b *bridge) take(ctx context.Context, line []byte, room chan struct{}) {
	m, err := parse(line)
	if wrong, ok := errors.AsType[*fault](err); ok {
		b.write(m.failed(wrong.code, wrong.text))
		return
	}
	switch {
	case m.Method == "": // an answer, though the daemon asks nothing
	case m.Method == "initialize" && m.request():
		b.initialize(ctx, &m)
	case !m.request():
		b.notify(ctx, &m)
	case m.Method == "subscriptions/listen":
		b.streams.Go(func() { b.answer(b.hangUp, &m) })
	default:
		select {
		case room <- struct{}{}:
		case <-ctx.Done():
			return
		}
		b.calls.Go(func() {
			defer func() { <-room }()
			ctx, cancel := context.WithTimeout(ctx, requestTime)
			defer cancel()
			b.answer(ctx, &m)
		})
	}
}

// initialize begins the session. It waits up to Patience for a daemon that is not up yet.
func (b *bridge) initialize(ctx context.Context, m *message) {
	ctx, cancel := context.WithTimeout(ctx, b.cfg.Patience)
	defer cancel()
	for {
		answer, err := b.greet(ctx, m)
		if err == nil {
			b.write(answer)
			return
		}
		if !unstarted(err) || !pause(ctx, retryAfter) {
			b.refuse(m, err)
			return
		}
	}
}

// notify forwards a notification. Lines that come after it wait.
func (b *bridge) notify(ctx context.Context, m *message) {
	ctx, cancel := context.WithTimeout(ctx, promptly)
	defer cancel()
	if err := b.forward(ctx, m); err != nil {
		b.cfg.Logger.Debug("a notification did not arrive", "method", m.Method, "err", err)
	}
}

// answer forwards a request, and answers it if the daemon does not.
func (b *bridge) answer(ctx context.Context, m *message) {
	if err := b.forward(ctx, m); err != nil {
		b.refuse(m, err)
	}
}

// forward sends m. If the session has just ended it sends m again, and the daemon makes the session
// anew.
func (b *bridge) forward(ctx context.Context, m *message) error {
	for again := false; ; again = true {
		res, body, err := b.post(ctx, m, true)
		if err != nil {
			return err
		}
		switch {
		case res.StatusCode == http.StatusNotFound && !m.sessionless() && !again:
			continue
		case res.StatusCode >= 300 && !json.Valid(body) || isProblem(res):
			return &refused{res.StatusCode, body}
		}
		if m.Method == "notifications/initialized" || m.Method == "resources/subscribe" {
			b.open(ctx)
		}
		if len(body) > 0 && m.request() {
			b.note(m, body)
			b.write(body)
		}
		return nil
	}
}

func isProblem(res *http.Response) bool {
	return strings.HasPrefix(res.Header.Get("Content-Type"), "application/problem+json")
}

// note records the subscriptions to which the daemon agreed.
func (b *bridge) note(m *message, body []byte) {
	on := m.Method == "resources/subscribe"
	if !on && m.Method != "resources/unsubscribe" {
		return
	}
	var answer struct{ Error json.RawMessage }
	if json.Unmarshal(body, &answer) == nil && answer.Error == nil {
		b.session.subscribed(m.Params.URI, on)
	}
}

// open opens the stream of messages that the daemon sends unasked, by which the daemon also sees
// that its client is there. It returns when the stream is open or has failed.
func (b *bridge) open(ctx context.Context) {
	if !b.session.listen() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, promptly)
	defer cancel()
	opened := make(chan struct{})
	b.streams.Go(func() { b.listen(b.hangUp, sync.OnceFunc(func() { close(opened) })) })
	select { // else the first update could be lost
	case <-opened:
	case <-ctx.Done():
	}
}

// post sends m and returns the answer. If the answer is a stream of messages, they are passed on as
// they come, and there is no body.
func (b *bridge) post(ctx context.Context, m *message, inSession bool) (*http.Response, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, b.cfg.URL, bytes.NewReader(m.line))
	if err != nil {
		return nil, nil, err
	}
	m.header(req.Header)
	if inSession && !m.sessionless() {
		b.session.header(req.Header)
	}
	res, err := b.cfg.Send(req)
	if err != nil {
		return nil, nil, err
	}
	defer res.Body.Close()
	if strings.HasPrefix(res.Header.Get("Content-Type"), "text/event-stream") {
		return res, nil, b.relay(res.Body)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, 2*maxLine))
	return res, body, err
}

// relay passes on the messages of a stream of server-sent events. No library is used: go-sse v0.12
// ends a stream at an event that is too long, and relay skips it (docs/decisions/0034).
func (b *bridge) relay(r io.Reader) error {
	in := bufio.NewReader(r)
	for {
		line, err := readLine(in)
		if data, ok := bytes.CutPrefix(line, []byte("data:")); ok && json.Valid(data) {
			b.write(data)
		}
		if err == io.EOF {
			return nil
		}
		if err != nil && err != errLong {
			return err
		}
	}
}

// listen passes on the messages that the daemon sends unasked in the session, and opens another
// stream when one breaks. It calls opened when the first one is open or has failed.
func (b *bridge) listen(ctx context.Context, opened func()) {
	defer opened()
	for again := false; ctx.Err() == nil; again = true {
		err := b.stream(ctx, again, opened)
		opened()
		if pause(ctx, retryAfter) {
			b.cfg.Logger.Debug("the stream of updates is interrupted", "err", err)
		}
	}
}

func (b *bridge) stream(ctx context.Context, again bool, opened func()) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, b.cfg.URL, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "text/event-stream")
	b.session.header(req.Header)
	res, err := b.cfg.Send(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return errors.New(res.Status)
	}
	if again {
		if err := b.resubscribe(ctx); err != nil {
			return err
		}
	}
	opened()
	return cmp.Or(b.relay(res.Body), io.ErrUnexpectedEOF)
}

// resubscribe renews the subscriptions at a daemon that has restarted and so does not know them. It
// tells the client that these resources may have changed in the meantime.
func (b *bridge) resubscribe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	for i, uri := range b.session.subscriptions() {
		m := message{Method: "resources/subscribe", line: encode(map[string]any{"jsonrpc": "2.0", "id": fmt.Sprintf("bridge-%d", i),
			"method": "resources/subscribe", "params": map[string]any{"uri": uri}})}
		res, body, err := b.post(ctx, &m, true)
		if err != nil {
			return err
		}
		if res.StatusCode >= 300 {
			return &refused{res.StatusCode, body}
		}
		b.write(updated(uri))
	}
	return nil
}

// leave ends the daemon's session.
func (b *bridge) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, farewell)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodDelete, b.cfg.URL, nil)
	if err != nil || b.session.header(req.Header) == "" {
		return
	}
	if res, err := b.cfg.Send(req); err == nil {
		_ = res.Body.Close() // on an error the session times out
	}
}

// write sends one message, as one line.
func (b *bridge) write(message []byte) {
	var line bytes.Buffer
	if json.Compact(&line, message) != nil {
		return
	}
	line.WriteByte('\n')
	select {
	case b.lines <- line.Bytes():
	case <-b.deaf.Done():
	}
}

// pause waits, and reports whether ctx still lasts.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// unstarted says whether a request did not reach the daemon at all.
func unstarted(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "dial"
}
