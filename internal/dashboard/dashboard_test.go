package dashboard

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/agent/fleet"
	"github.com/sentinel-peer/sentinel-peer/agent/workqueue"
	"github.com/sentinel-peer/sentinel-peer/gossip/transport/memnet"
	"github.com/sentinel-peer/sentinel-peer/internal/api"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fixture is a dashboard of the first of some peers, in virtual time.
type fixture struct {
	*testing.T
	*Dashboard
	net   *memnet.Network
	peers []*agent.Agent
	grant *api.Grant
}

func peerAddr(i int) string { return fmt.Sprintf("10.0.0.%d:7946", i+1) }

func showing(t *testing.T, count int, f func(x *fixture)) {
	tuned(t, count, agent.LockConfig{}, f)
}

func tuned(t *testing.T, count int, locks agent.LockConfig, f func(x *fixture)) {
	synctest.Test(t, func(t *testing.T) {
		t.Cleanup(func() { time.Sleep(time.Minute) }) // runs last, for memberlist's last timers
		x := &fixture{T: t, net: memnet.New(3)}
		for i := range count {
			l, err := x.net.Listen(peerAddr(i))
			if err != nil {
				t.Fatal(err)
			}
			a, err := agent.Open(t.Context(), agent.Config{Name: fmt.Sprintf("n%d", i+1), Cluster: "test", Bind: peerAddr(i), Network: l,
				Seeds: []string{peerAddr(0)}, Keys: [][]byte{make([]byte, 32)}, BatchInterval: agent.AtOnce, HTTP: "127.0.0.1:7700", Locks: locks})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { a.Close(context.WithoutCancel(t.Context())) })
			x.peers = append(x.peers, a)
		}
		time.Sleep(10 * time.Second)
		x.Dashboard = New(t.Context(), Config{Agent: x.peers[0], Version: "v1"})
		f(x)
	})
}

func (x *fixture) ask(method, path string) *httptest.ResponseRecorder {
	x.Helper()
	w := httptest.NewRecorder()
	r := httptest.NewRequest(method, path, nil)
	x.ServeHTTP(w, r.WithContext(api.WithGrant(x.Context(), x.grant)))
	return w
}

// get returns a page that must have a status.
func (x *fixture) get(status int, path string) string {
	x.Helper()
	w := x.ask("GET", path)
	if w.Code != status {
		x.Errorf("%s: %d, want %d: %s", path, w.Code, status, text(w.Body.String()))
	}
	return w.Body.String()
}

// has fails unless a page contains all of the texts.
func (x *fixture) has(path string, want ...string) {
	x.Helper()
	body := x.get(200, path)
	for _, s := range want {
		if !strings.Contains(text(body), s) {
			x.Errorf("%s lacks %q:\n%s", path, s, text(body))
		}
	}
}

func (x *fixture) lacks(path string, secret ...string) {
	x.Helper()
	body := x.ask("GET", path).Body.String()
	for _, s := range secret {
		if strings.Contains(body, s) {
			x.Errorf("%s shows %q", path, s)
		}
	}
}

func (x *fixture) must(errs ...error) {
	x.Helper()
	if err := errors.Join(errs...); err != nil {
		x.Fatal(err)
	}
}

var (
	tags   = regexp.MustCompile(`<[^>]*>`)
	spaces = regexp.MustCompile(`\s+`)
)

// text returns roughly what a reader of the page sees.
func text(html string) string {
	_, html, _ = strings.Cut(html, "<main")
	return spaces.ReplaceAllString(tags.ReplaceAllString("<main"+html, ""), " ")
}

// fill writes a record of every kind; s is part of each name and value.
func (x *fixture) fill(s string) {
	x.Helper()
	ctx, a := x.Context(), x.peers[0]
	q := a.WorkQueue("mail")
	_, err := q.Enqueue(ctx, s, workqueue.WithID("id"+s))
	_, lock := api.Find("lock_acquire").Do(ctx, a, api.Request{Key: "lock" + s, Body: []byte(`{"ttl":"10s"}`), Leases: x.cfg.Leases})
	x.must(err, lock,
		a.Put(ctx, "free/key"+s, s), a.Set("free/set"+s).Add(ctx, s), a.Counter("free/counter").Add(ctx, 3),
		a.Put(ctx, "free/brief", "soon", agent.WithTTL(time.Minute)),
		a.Tasks().SetState(ctx, "t"+s, fleet.TaskState{Status: "busy" + s, Worker: s, Labels: []string{s}, Error: s}),
		a.Tasks().SetProgress(ctx, "t"+s, .25, "part"+s),
		a.Workers().SetStatus(ctx, "w"+s, fleet.WorkerStatus{Status: s, Task: s, Running: 1, Labels: []string{s}}),
		a.Workers().SetCapacity(ctx, "w"+s, 4), a.Workers().Heartbeat(ctx, "w"+s),
	)
	if len(x.peers) > 1 { // a conflict
		x.net.Split([]string{peerAddr(0)}, []string{peerAddr(1)})
		x.must(a.Put(ctx, "free/fought"+s, "first"+s), x.peers[1].Put(ctx, "free/fought"+s, "second"+s))
		x.net.Heal()
	}
	time.Sleep(15 * time.Second)
}

func addresses() []string {
	var list []string
	for _, p := range pages {
		if p.name != "key" {
			list = append(list, p.path())
		}
	}
	return list
}

func TestPagesShowWhatThereIs(t *testing.T) {
	showing(t, 2, func(x *fixture) {
		x.get(200, "/ui/events") // begins to record
		x.fill("-x")
		x.must(x.peers[0].Workers().Heartbeat(x.Context(), "w-x"), x.peers[0].Put(x.Context(), "free/late", 1))
		_, err := api.Find("lock_acquire").Do(x.Context(), x.agent, api.Request{Key: "deploy/eu", Body: []byte(`{"ttl":"10s"}`), Leases: x.cfg.Leases})
		x.must(err)
		time.Sleep(2 * time.Second)
		x.has("/", "n1", "this peer", "n2", "alive", "127.0.0.1:7700", "Writes here", "Keys")
		x.has("/ui/keys", "free/", "task-sentinel/", "folder")
		x.has("/ui/keys?prefix=free/", "key-x", "register", "&#34;-x&#34;", "set-x", "set", "counter", "n1")
		x.has("/ui/keys?q=KEY-", "free/key-x")
		x.has("/ui/key?key=free/key-x", "register", "Written byn1", "never", "&#34;-x&#34;", "Versions", "No conflict on this key")
		x.has("/ui/key?key=free/brief", "Expiresin 4")
		x.has("/ui/key?key=free/fought-x", "Conflicts", "first-x", "second-x", "n2")
		x.has("/ui/tasks", "t-x", "busy-x", "25 %", "part-x")
		x.has("/ui/workers", "w-x", "active", "1 of 4", "good for", "3 more tasks")
		x.has("/ui/queues", "mail", "Pending")
		x.has("/ui/queues?name=mail", "Next in mail", "id-x")
		x.has("/ui/locks", "deploy/eu", "exclusive", "this-peer There are no voters")
		x.has("/ui/locks?name=deploy/eu", "A majority of voters agrees", "n1", "exclusive")
		x.has("/ui/locks?name=free", "Nobody holds it")
		x.has("/ui/conflicts", "free/fought-x", "first-x", "second-x")
		x.has("/ui/conflicts?match=other/**", "None.")
		x.has("/ui/events", "write", "free/late", "n1")
		x.has("/ui/events?q=nothing", "Nothing yet")
		x.get(200, "/login?next=/ui/keys&failed=1")
	})
}

func TestWhatCannotBeShownIsAPageThatSaysWhy(t *testing.T) {
	showing(t, 1, func(x *fixture) {
		f := func(status int, path, want string) {
			t.Helper()
			if body := x.get(status, path); !strings.Contains(body, want) || !strings.Contains(body, "<nav") {
				t.Errorf("%s lacks %q: %s", path, want, text(body))
			}
		}
		long := strings.Repeat("x", 1100)
		f(404, "/ui/nonsense", "no such page")
		f(404, "/ui/key?key=absent", "Nothing here")
		f(400, "/ui/key", "is empty")
		f(400, "/ui/key?key=a//b", "empty segment")
		f(400, "/ui/keys?q="+long, "1,024")
		f(400, "/ui/keys?prefix="+long, "1,024")
		f(400, "/ui/events?q="+long, "1,024")
		f(400, "/ui/conflicts?match="+long, "1,024")
		f(400, "/ui/conflicts?match=%5B", "is not valid")
		f(404, "/ui/queues?name=absent", "Nothing here")
		f(200, "/ui/locks?name="+long, "is not valid") // the rest of the page is shown
		x.get(404, "/ui/static/nothing.css")
		x.get(400, "/ui/stream?page=nonsense")
		x.get(400, "/ui/stream?page=keys&query=%25zz")
		if w := x.ask("HEAD", "/ui/stream?page=keys"); w.Code != 200 || w.Body.Len() != 0 {
			t.Errorf("HEAD of a stream: %d", w.Code)
		}
		if w := x.ask("POST", "/"); w.Code != 405 || w.Header().Get("Allow") != "GET, HEAD" {
			t.Errorf("POST: %d", w.Code)
		}
		x.must(x.peers[0].Close(x.Context()))
		f(503, "/ui/workers", "stopping")
	})
}

func TestEveryAnswerIsGuarded(t *testing.T) {
	showing(t, 1, func(x *fixture) {
		for _, path := range append(addresses(), "/ui/key?key=a", "/ui/none", "/login", "/ui/static/app.css", "/ui/stream?page=none") {
			h := x.ask("GET", path).Header()
			for name, want := range map[string]string{"Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Cache-Control": "no-store", "Referrer-Policy": "same-origin"} {
				if h.Get(name) != want {
					t.Errorf("%s: %s is %q", path, name, h.Get(name))
				}
			}
		}
		for _, forbidden := range []string{"unsafe", "*", "http:", "data:"} {
			if strings.Contains(policy, forbidden) {
				t.Errorf("the policy has %s", forbidden)
			}
		}
		for name, a := range assets {
			w := x.ask("GET", "/ui/static/"+name+"?v="+a.hash)
			if w.Code != 200 || !strings.Contains(w.Header().Get("Cache-Control"), "immutable") || w.Header().Get("Content-Type") == "" {
				t.Errorf("%s: %d %v", name, w.Code, w.Header())
			}
		}
	})
}

// The pages must not contain what the policy would refuse, nor links to other servers.
var (
	values = regexp.MustCompile(`="[^"]*"`)
	inline = regexp.MustCompile(`(?i)<script(?: type="")?>|<style|<img|<iframe|<base|\sstyle=|\son[a-z]+=`)
	away   = regexp.MustCompile(`(?i)(?:src|href|action)="(?:javascript|data|http)|src="//`)
)

func TestHostileNamesAndValuesAreText(t *testing.T) {
	showing(t, 2, func(x *fixture) {
		x.get(200, "/ui/events")
		const evil = `<img src=x onerror=alert(1)>"'` + "`{{.}}</script><script>alert(2)<" // without a slash: it is one segment of a key
		evil1 := strings.ReplaceAll(evil, "/", "")
		x.fill(evil1)
		x.must(x.peers[0].Put(x.Context(), "free/late"+evil1, evil), x.peers[0].Workers().Heartbeat(x.Context(), "w"+evil1))
		time.Sleep(2 * time.Second)
		e := url.QueryEscape(evil1)
		paths := append(addresses(), "/ui/keys?prefix=free/", "/ui/keys?prefix="+e, "/ui/keys?q="+e, "/ui/key?key=free/key"+e, "/ui/key?key=free/fought"+e, "/ui/key?key="+e,
			"/ui/queues?name=mail", "/ui/queues?name="+e, "/ui/locks?name=lock"+e, "/ui/conflicts?match="+e, "/ui/events?q="+e, "/login?next="+e)
		shown := 0
		for _, path := range paths {
			body := x.ask("GET", path).Body.String()
			if found := inline.FindString(values.ReplaceAllString(strings.Join(tags.FindAllString(body, -1), ""), `=""`)) + away.FindString(body); found != "" || strings.Contains(body, "<img") {
				t.Errorf("%s: %q", path, found)
			}
			shown += strings.Count(body, "&lt;img src=x onerror=alert(1)&gt;")
		}
		if shown < 30 {
			t.Errorf("it was shown %d times: this test looks at the wrong pages", shown)
		}
		v := x.view(httptest.NewRequest("GET", "/ui/keys?prefix=free/", nil), find("/ui/keys"))
		if s := make(renewal).event(v.parts()); strings.Contains(s, "<img") || strings.Count(s, "\n") != 3 {
			t.Errorf("the stream: %s", s)
		}
	})
}

func TestAGrantIsAllThatIsShown(t *testing.T) {
	showing(t, 2, func(x *fixture) {
		x.get(200, "/ui/events")
		x.fill("-x")
		x.must(x.peers[0].Put(x.Context(), "mine/k", 1), x.peers[0].Put(x.Context(), "free/late", 1), x.peers[0].Workers().Heartbeat(x.Context(), "w-x"))
		time.Sleep(2 * time.Second)
		x.grant = &api.Grant{Name: "ci", Rights: []api.Right{{Verb: api.Read, Key: "mine"}}}
		x.has("/ui/keys", "1 key.", "mine/")
		x.has("/ui/keys?q=k", "mine/k")
		x.has("/ui/key?key=mine/k", "register")
		x.has("/ui/events", "mine/k")
		x.has("/", "Token ci")
		for _, path := range append(addresses(), "/ui/keys?q=e", "/ui/keys?prefix=free/", "/ui/queues?name=mail", "/ui/locks?name=lock-x", "/ui/key?key=free/brief") {
			x.lacks(path, "free/key", "free/set", "free/late", "free/fought", "t-x", "w-x", "id-x", "deploy", "second-x", "soon", `"mail"`)
		}
		x.get(403, "/ui/key?key=free/brief")
		x.get(403, "/ui/key?key=free/absent")
		x.get(403, "/ui/queues?name=mail")
		x.get(403, "/ui/queues?name=absent")
		x.get(403, "/ui/conflicts?match=free/**")

		x.grant = &api.Grant{Name: "ci", Rights: []api.Right{{Verb: api.Read, Key: fleet.TaskStateKey("t-x")}, {Verb: api.Lock, Key: "lock-x"}}}
		x.has("/ui/tasks", "t-x", "busy-x")
		x.lacks("/ui/tasks", "25 %", "part-x")
		x.has("/ui/locks?name=lock-x", "A majority of voters agrees")
	})
}

func TestAPageHasAHundredRowsAndLeadsToTheNext(t *testing.T) {
	showing(t, 1, func(x *fixture) {
		want := make(map[string]bool)
		for i := range 250 {
			key := fmt.Sprintf("k/%03d/v", i)
			if i%2 == 0 {
				key = fmt.Sprintf("k/%03d", i)
			}
			want[key[:5]] = true
			x.must(x.peers[0].Put(x.Context(), key, strings.Repeat("v", 5000)))
		}
		row := regexp.MustCompile(`<th scope="row"><a href="[^"]*">(\d+)`)
		next := regexp.MustCompile(`<a href="([^"]*)" rel="next"`)
		path, seen := "/ui/keys?prefix=k/", 0
		for range 3 {
			body := x.get(200, path)
			rows := row.FindAllStringSubmatch(body, -1)
			if len(rows) > maxRows || len(body) > 64<<10 {
				t.Errorf("%s: %d rows, %d bytes", path, len(rows), len(body))
			}
			for _, r := range rows {
				seen++
				delete(want, "k/"+r[1])
			}
			if m := next.FindStringSubmatch(body); m != nil {
				path = strings.ReplaceAll(m[1], "&amp;", "&")
			}
		}
		if len(want) != 0 || seen != 250 {
			t.Errorf("%d rows, %d keys were never shown", seen, len(want))
		}
	})
}

func TestAllKeysAreWalkedRarely(t *testing.T) {
	showing(t, 1, func(x *fixture) {
		a := x.peers[0]
		look := func() []string {
			keys, _, err := x.index.all(a, time.Now())
			x.must(err)
			return keys
		}
		x.must(a.Put(x.Context(), "a", 1))
		first := look()
		x.must(a.Put(x.Context(), "b", 1))
		if &look()[0] != &first[0] {
			t.Error("walked twice in a moment")
		}
		time.Sleep(walkEvery)
		second := look()
		if !slices.Contains(second, "b") {
			t.Errorf("%v lacks b", second)
		}
		time.Sleep(walkEvery)
		if &look()[0] != &second[0] {
			t.Error("walked though nothing changed")
		}
		x.index.mu.Lock()
		x.index.took = time.Second
		x.index.mu.Unlock()
		x.must(a.Put(x.Context(), "c", 1))
		time.Sleep(walkEvery)
		if &look()[0] != &second[0] {
			t.Error("a walk that takes a second is made every second")
		}
		time.Sleep(2 * unused)
		x.index.mu.Lock()
		defer x.index.mu.Unlock()
		if x.index.keys != nil {
			t.Error("the keys are kept though nobody looks")
		}
	})
}

func TestChildrenAndGrantsAgreeWithAWalk(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	word := func() string {
		names := []string{"a", "b", "b-", "b0", "ab", "é"}
		parts := make([]string, 1+r.IntN(3))
		for i := range parts {
			parts[i] = names[r.IntN(len(names))]
		}
		return strings.Join(parts, "/")
	}
	for range 2000 {
		var keys []string
		for range r.IntN(30) {
			keys = append(keys, word())
		}
		slices.Sort(keys)
		keys = slices.Compact(keys)
		g := &api.Grant{Name: "g"}
		for range r.IntN(4) {
			g.Rights = append(g.Rights, api.Right{Verb: []api.Verb{api.Read, api.Write, api.Lock}[r.IntN(3)], Key: []string{word(), word() + "/", "", "*"}[r.IntN(10)*3/10]})
		}
		var want []string
		for _, k := range keys {
			if g.MayRead(k) {
				want = append(want, k)
			}
		}
		if got := readable(keys, g); !slices.Equal(got, want) {
			t.Fatalf("%v of %v: %v, want %v", g.Rights, keys, got, want)
		}

		prefix := ""
		if r.IntN(2) == 0 {
			prefix = word() + "/"
		}
		seen, from := 0, ""
		for {
			list, more := children(keys, prefix, from, 2)
			for _, c := range list {
				seen += c.Keys
				if !strings.HasPrefix(c.Path, prefix) || c.Path <= from {
					t.Fatalf("%q after %q in %v: %+v", prefix, from, keys, list)
				}
			}
			if !more {
				break
			}
			from = list[len(list)-1].Path
		}
		if seen != len(within(keys, prefix)) {
			t.Fatalf("%q in %v: %d keys", prefix, keys, seen)
		}
	}
}

func TestACutShowsInTheSentenceAndThePicture(t *testing.T) {
	showing(t, 3, func(x *fixture) {
		x.net.Split([]string{peerAddr(0), peerAddr(1)}, []string{peerAddr(2)})
		time.Sleep(time.Minute)
		body := x.get(200, "/")
		for _, want := range []string{"2 of 3 peers alive; n3 out of reach.", "<b>Next:</b> start it, or", `class="edge bad"`, `class="edge good"`} {
			if !strings.Contains(body, want) {
				t.Errorf("lacks %q", want)
			}
		}
		x.net.Heal()
		time.Sleep(time.Minute)
		if body := x.get(200, "/"); !strings.Contains(body, "3 of 3 peers alive, converged.") {
			t.Errorf("healed: %s", text(body))
		}
	})
}

func TestRatesAreOfTheLastMinutes(t *testing.T) {
	var s samples
	begin := time.Unix(0, 0)
	for i := range maxSamples + 10 {
		s.take(agent.Stats{Writes: uint64(i * 4), Queues: map[string]workqueue.Stats{"q": {}}}, begin.Add(time.Duration(i)*sampleEvery))
	}
	writes := func(x sample) uint64 { return x.writes }
	if r := s.rates(writes); len(r) != maxSamples-1 || r[0] != 2 || s.recent(writes) != 2 {
		t.Errorf("%d rates, %v, now %v", len(r), r[0], s.recent(writes))
	}
	if s.list[0].queues != nil || s.list[maxSamples-1].queues == nil {
		t.Error("queues are kept where nobody asks, or not where somebody does")
	}
	s.take(agent.Stats{}, begin.Add(time.Hour)) // the counters of a peer that has restarted
	if r := s.rates(writes); r[len(r)-1] != 0 {
		t.Errorf("a counter that began anew: %v", r[len(r)-1])
	}
}
