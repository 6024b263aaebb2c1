package mcpserver

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/internal/api"
)

const (
	maxFeeds         = 10_000 // the most resources with subscribers
	maxSubscriptions = 256    // the most of one session
	// interval is the shortest time between two updates of one resource.
	interval = 100 * time.Millisecond
)

// feeds are the resources that have subscribers.
type feeds struct {
	mu   sync.Mutex
	by   map[string]*feed                       // by URI
	subs map[*mcp.ServerSession]map[string]bool // the URIs of each session
}

// feed tells the subscribers of one resource that it has changed.
type feed struct {
	sessions int
	stop     context.CancelFunc
}

func (s *Server) subscribe(ctx context.Context, req *mcp.SubscribeRequest) error {
	key, err := keyOfURI(req.Params.URI)
	if err != nil {
		return err
	}
	if err := api.GrantOf(ctx).Check(api.Right{Verb: api.Read, Key: key}); err != nil {
		return err
	}
	s.feeds.mu.Lock()
	defer s.feeds.mu.Unlock()
	uris := s.feeds.subs[req.Session]
	switch {
	case uris[req.Params.URI]:
		return nil
	case len(uris) >= maxSubscriptions:
		return errors.New("this session has too many subscriptions; end some")
	}
	if uris == nil {
		if !s.begin(&s.streams) {
			return errStopping
		}
		uris = map[string]bool{}
		s.feeds.subs[req.Session] = uris
		go func() { // a session ends without unsubscribing
			defer s.streams.Done()
			_ = req.Session.Wait()
			s.feeds.forget(req.Session)
		}()
	}
	if err := s.feed(req.Params.URI, key); err != nil {
		return err
	}
	uris[req.Params.URI] = true
	return nil
}

// feed adds a subscriber to a resource, which is watched while it has any. The caller holds
// feeds.mu.
func (s *Server) feed(uri, key string) error {
	f := s.feeds.by[uri]
	if f == nil {
		if len(s.feeds.by) >= maxFeeds {
			return errors.New("too many resources are watched at this daemon; try again later, or use memory_watch")
		}
		if !s.begin(&s.streams) {
			return errStopping
		}
		ctx, stop := context.WithCancel(s.closing)
		sub, err := s.cfg.Agent.Watch(ctx, crdt.Literal(key), agent.Buffer(1)) // events that it misses are one update too
		if err != nil {
			stop()
			s.streams.Done()
			return err
		}
		f = &feed{stop: stop}
		s.feeds.by[uri] = f
		go s.tell(ctx, sub, uri)
	}
	f.sessions++
	return nil
}

// tell turns events into updates; several events at once are one update.
func (s *Server) tell(ctx context.Context, sub *agent.Subscription, uri string) {
	defer s.streams.Done()
	pause := time.NewTimer(0)
	defer pause.Stop()
	for range sub.C() {
		for more := true; more; {
			select {
			case _, more = <-sub.C():
			default:
				more = false
			}
		}
		if ctx.Err() != nil {
			return
		}
		_ = s.mcp.ResourceUpdated(ctx, &mcp.ResourceUpdatedNotificationParams{URI: uri}) // on an error the client has gone
		pause.Reset(interval)
		select {
		case <-pause.C:
		case <-ctx.Done():
		}
	}
}

func (s *Server) unsubscribe(_ context.Context, req *mcp.UnsubscribeRequest) error {
	s.feeds.mu.Lock()
	defer s.feeds.mu.Unlock()
	s.feeds.drop(req.Session, req.Params.URI)
	return nil
}

func (t *feeds) drop(session *mcp.ServerSession, uri string) {
	if !t.subs[session][uri] {
		return
	}
	delete(t.subs[session], uri)
	f := t.by[uri]
	if f.sessions--; f.sessions == 0 {
		f.stop()
		delete(t.by, uri)
	}
}

func (t *feeds) forget(session *mcp.ServerSession) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for uri := range t.subs[session] {
		t.drop(session, uri)
	}
	delete(t.subs, session)
}
