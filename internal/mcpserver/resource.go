package mcpserver

import (
	"context"
	"errors"
	"net/url"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/crdt"
	"github.com/sentinel-peer/sentinel-peer/internal/api"
)

const keysURI = "sentinel://keys/"

// views are the resources that are not keys.
var views = []struct {
	uri, name, description string
	show                   func(c *call) (any, error)
}{
	{"sentinel://cluster/status", "cluster status", "the peers, whether all is well and, if not, what to do", func(c *call) (any, error) { return c.status(), nil }},
	{"sentinel://cluster/members", "cluster members", "all known peers", operation("members")},
	{"sentinel://locks", "locks", "the locks of the cluster, with their holders and waiters, agents and others", (*call).locks},
	{"sentinel://conflicts", "conflicts", "concurrent writes that lost, newest first", operation("conflicts")},
}

func operation(name string) func(*call) (any, error) {
	return func(c *call) (any, error) {
		res, err := c.do(name, api.Request{}, nil)
		return res.Body, err
	}
}

func (s *Server) addResources() {
	for _, v := range views {
		s.mcp.AddResource(&mcp.Resource{URI: v.uri, Name: v.name, Description: v.description, MIMEType: "application/json"},
			s.reader(func(c *call, _ string) (any, error) { return v.show(c) }))
	}
	s.mcp.AddResourceTemplate(&mcp.ResourceTemplate{URITemplate: keysURI + "{+key}", Name: "key", MIMEType: "application/json",
		Description: "the value of a key; subscribe to be told of its changes. Keys of memory are memory/<namespace>/<key>"}, s.reader(readKey))
}

// reader returns a resource as a handler of the SDK.
func (s *Server) reader(show func(c *call, uri string) (any, error)) mcp.ResourceHandler {
	return func(ctx context.Context, req *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
		ctx, done := s.until(ctx)
		defer done()
		c := &call{args: &args{}, s: s, ctx: ctx, grant: api.GrantOf(ctx)}
		defer c.within(0)()
		body, err := show(c, req.Params.URI)
		if errors.Is(err, agent.ErrNotFound) {
			return nil, mcp.ResourceNotFoundError(req.Params.URI)
		}
		if err != nil {
			return nil, err
		}
		text, err := encode(body)
		if err != nil {
			return nil, err
		}
		return &mcp.ReadResourceResult{Contents: []*mcp.ResourceContents{{URI: req.Params.URI, MIMEType: "application/json", Text: string(text)}}}, nil
	}
}

func readKey(c *call, uri string) (any, error) {
	key, err := keyOfURI(uri)
	if err != nil {
		return nil, err
	}
	res, err := c.do("kv_get", api.Request{Key: key}, nil)
	return res.Body, err
}

// keyOfURI returns the key that a URI names. Slashes in the key may be escaped or not.
func keyOfURI(uri string) (string, error) {
	rest, ok := strings.CutPrefix(uri, keysURI)
	key, err := url.PathUnescape(rest)
	if !ok || err != nil {
		return "", &failure{Code: "bad-request", Text: "want " + keysURI + "{key}, with the key escaped"}
	}
	return key, crdt.ValidateKey(key)
}
