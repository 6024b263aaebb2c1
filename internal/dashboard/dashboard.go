package dashboard

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/internal/api"
	"github.com/sentinel-peer/sentinel-peer/internal/verdict"
)

// Config configures a dashboard. Agent is mandatory.
type Config struct {
	Agent   *agent.Agent
	Leases  *api.Leases  // shared with the daemon's other surfaces; may be nil
	Reloads *api.Reloads // shared with the daemon's other surfaces; may be nil
	Version string       // the version of the daemon, shown in the footer
}

// Dashboard serves the pages: /, /login and all paths below /ui/.
type Dashboard struct {
	cfg     Config
	agent   *agent.Agent
	done    <-chan struct{} // closed when streams and sampling must end
	index   index
	samples samples
	events  events
	streams chan struct{} // holds one token for each open stream
}

// maxStreams bounds the open pages that are kept up to date. More pages stay as they were loaded.
const maxStreams = 64

// New returns a dashboard of cfg.Agent. Its streams and its sampling of rates end with ctx.
func New(ctx context.Context, cfg Config) *Dashboard {
	cfg.Leases = cmp.Or(cfg.Leases, api.NewLeases())
	d := &Dashboard{cfg: cfg, agent: cfg.Agent, done: ctx.Done(), streams: make(chan struct{}, maxStreams)}
	d.samples.take(d.agent.Stats(), time.Now())
	go d.sample(ctx)
	return d
}

//go:embed static templates
var files embed.FS

var templates = template.Must(template.New("").Funcs(functions).ParseFS(files, "templates/*.html"))

// assets are the files below /ui/static/. Their addresses contain their hash, so that a browser may
// keep them.
var assets = readAssets()

type asset struct {
	body []byte
	hash string
	kind string
}

func readAssets() map[string]asset {
	all := make(map[string]asset)
	list, err := fs.ReadDir(files, "static")
	if err != nil {
		panic(err) // the files are embedded
	}
	kinds := map[string]string{".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
	for _, f := range list {
		body, err := files.ReadFile("static/" + f.Name())
		if err != nil {
			panic(err)
		}
		sum := sha256.Sum256(body)
		all[f.Name()] = asset{body, hex.EncodeToString(sum[:6]), kinds[path.Ext(f.Name())]}
	}
	return all
}

// policy allows the embedded script and style sheet, the streams and forms of this server, and
// nothing else.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

func (d *Dashboard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "same-origin") // with no-referrer, forms would have the origin null
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.Set("Allow", "GET, HEAD")
		http.Error(w, "the dashboard is read-only: GET or HEAD", http.StatusMethodNotAllowed)
		return
	}
	name, isAsset := strings.CutPrefix(r.URL.Path, "/ui/static/")
	switch {
	case isAsset:
		serveAsset(w, r, name)
	case r.URL.Path == "/login":
		d.login(w, r)
	case r.URL.Path == "/ui/stream":
		d.stream(w, r)
	default:
		d.page(w, r)
	}
}

func serveAsset(w http.ResponseWriter, r *http.Request, name string) {
	a, ok := assets[name]
	if !ok {
		http.Error(w, "no such file", http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", a.kind)
	if r.URL.Query().Get("v") == a.hash {
		w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	_, _ = w.Write(a.body) // on an error the client has gone
}

// page is one page. Its templates are NAME.head, which stays as it is, and NAME.live, which the
// stream renews.
type page struct {
	name  string
	title string
	// load returns the data of the templates.
	load func(v *view) (any, error)
	// once returns the data that only the head shows; it may be nil, and is called once for a page.
	once func(v *view) (any, error)
}

var pages = []page{
	{"overview", "Overview", overview, nil},
	{"keys", "Keys", keys, nil},
	{"key", "Key", key, nil},
	{"tasks", "Tasks", tasks, nil},
	{"workers", "Workers", workers, nil},
	{"queues", "Queues", queues, nil},
	{"locks", "Locks", locks, inspectLock},
	{"conflicts", "Conflicts", conflicts, nil},
	{"events", "Events", recent, nil},
}

func (p *page) path() string {
	if p.name == "overview" {
		return "/"
	}
	return "/ui/" + p.name
}

// find returns the page at a path, nil if there is none.
func find(path string) *page {
	i := slices.IndexFunc(pages, func(p page) bool { return p.path() == path })
	if i < 0 {
		return nil
	}
	return &pages[i]
}

// view is one rendering of a page: for which caller, with which parameters, and when.
type view struct {
	*Dashboard
	ctx   context.Context
	grant *api.Grant
	query url.Values
	now   time.Time
	page  *page
}

func (d *Dashboard) view(r *http.Request, p *page) *view {
	return &view{d, r.Context(), api.GrantOf(r.Context()), r.URL.Query(), time.Now(), p}
}

// do runs an operation of package api for the caller of a page.
func do[T any](v *view, name string, r api.Request) (T, error) {
	r.Leases, r.Reloads = v.cfg.Leases, v.cfg.Reloads
	if r.Query == nil {
		r.Query = url.Values{}
	}
	res, err := api.Find(name).Do(v.ctx, v.agent, r)
	body, _ := res.Body.(T)
	return body, err
}

// layout is the frame of every page.
type layout struct {
	Title   string
	Page    string
	Pages   []link
	Verdict verdict.Verdict
	Head    template.HTML // rendered by html/template
	Live    template.HTML // rendered by html/template
	Stream  string        // the address of the stream; "" if nothing is to be renewed
	Peer    string
	Name    string // the name of the caller's token
	Version string
}

type link struct {
	Title, Href string
	Current     bool
}

func (d *Dashboard) page(w http.ResponseWriter, r *http.Request) {
	p := find(r.URL.Path)
	l := layout{Peer: d.agent.Name(), Version: d.cfg.Version}
	status := http.StatusNotFound
	v := d.view(r, cmp.Or(p, &page{}))
	if p == nil {
		l.Title, l.Live = "No such page", render("problem", problem{"There is no such page.", "The pages are in the navigation above."})
	} else {
		l.Title, l.Page = p.title, p.name
		l.Stream = "/ui/stream?" + url.Values{"page": {p.name}, "query": {r.URL.RawQuery}}.Encode()
		if k := v.query.Get("key"); p.name == "key" && k != "" {
			l.Title = k
		}
		l.Head = v.head() // first: its wait for peers that do not answer also covers the rest
		status, l.Live = v.live()
	}
	for _, o := range pages {
		if o.name != "key" {
			l.Pages = append(l.Pages, link{o.title, o.path(), o.name == l.Page || o.name == "keys" && l.Page == "key"})
		}
	}
	if v.grant != nil {
		l.Name = v.grant.Name
	}
	l.Verdict = api.Judge(v.ctx, d.agent, d.cfg.Reloads)
	respond(w, status, "layout", l)
}

func respond(w http.ResponseWriter, status int, name string, data any) {
	body := render(name, data)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(body)) // on an error the client has gone
}

// live renders the part that the stream renews.
func (v *view) live() (status int, html template.HTML) {
	data, err := v.page.load(v)
	if err != nil {
		status, p := describe(err)
		return status, render("problem", p)
	}
	return http.StatusOK, render(v.page.name+".live", data)
}

// head renders the part that stays: forms, whose fields must keep what was typed.
func (v *view) head() template.HTML {
	if templates.Lookup(v.page.name+".head") == nil {
		return ""
	}
	data := struct {
		Query map[string]string
		Once  any
		Err   *problem
	}{Query: make(map[string]string)}
	for name := range v.query {
		data.Query[name] = v.query.Get(name)
	}
	if v.page.once != nil {
		once, err := v.page.once(v)
		data.Once = once
		if err != nil {
			_, p := describe(err)
			data.Err = &p
		}
	}
	return render(v.page.name+".head", data)
}

// render executes a template. It fails only if the template does not match its data.
func render(name string, data any) template.HTML {
	var b bytes.Buffer
	if err := templates.ExecuteTemplate(&b, name, data); err != nil {
		panic(err)
	}
	return template.HTML(b.String())
}

// problem is the error that a page shows instead of its content.
type problem struct{ Title, Detail string }

// badQuery is a parameter that is not valid.
type badQuery struct{ reason string }

func (e *badQuery) Error() string { return e.reason }

// titles are the titles of error pages, by the code of the error.
var titles = map[string]string{
	"forbidden":   "Your token does not cover this.",
	"not-found":   "Nothing here.",
	"no-majority": "No majority of voters can be reached.",
	"closed":      "This peer is stopping.",
}

// describe turns an error into text for the person who looks at the page.
func describe(err error) (status int, p problem) {
	fault := api.FaultOf(err)
	if _, ok := errors.AsType[*badQuery](err); ok {
		fault.Status = http.StatusBadRequest
	}
	title := titles[fault.Code]
	switch {
	case title != "":
	case fault.Status == http.StatusBadRequest:
		title = "The request is not valid."
	default:
		title = "The request failed."
	}
	return fault.Status, problem{title, api.Text(err)}
}

// login serves the login page. Its form posts to the same path, which the API's server handles.
func (d *Dashboard) login(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	respond(w, http.StatusOK, "login", struct {
		Peer, Next string
		Failed     bool
	}{d.agent.Name(), q.Get("next"), q.Get("failed") != ""})
}

// choice is an entry in a list of choices.
type choice struct {
	Value, Text string
	Chosen      bool
}

// shades are the CSS classes of levels. A word stands beside each, since colour alone is not
// enough.
var shades = map[verdict.Level]string{verdict.OK: "good", verdict.Warn: "wait", verdict.Fail: "bad"}

var functions = template.FuncMap{
	"asset": func(name string) (string, error) {
		a, ok := assets[name]
		if !ok {
			return "", fmt.Errorf("no file %q", name)
		}
		return "/ui/static/" + name + "?v=" + a.hash, nil
	},
	"count": func(n any) (string, error) {
		switch n := n.(type) {
		case int:
			return count(n), nil
		case uint64:
			return count(n), nil
		}
		return "", fmt.Errorf("%T is not a number that can be counted", n)
	},
	"shade":  func(l verdict.Level) string { return shades[l] },
	"choice": func(value, text, now string) choice { return choice{value, text, value == now} },
	"states": func() []string { return []string{"claimed", "pending", "delayed", "dead"} },
	"ago":    ago,
	"size":   size,
	"clock":  func(t time.Time) string { return t.UTC().Format("15:04:05.000") },
	"date":   func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05.000") + " UTC" },
}
