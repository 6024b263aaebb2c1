package browser

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

var shots = flag.String("shots", "", "folder to write screenshots to; with -run Dashboard/screenshots")

// tab is a page in the browser. The test fails if the page writes to the console.
type tab struct {
	t   *testing.T
	ctx context.Context
	f   *fleet

	mu       sync.Mutex
	expected string // a part of what the console may show
	said     []string
}

func TestDashboard(t *testing.T) {
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(chromium(t)), chromedp.NoSandbox, chromedp.DisableGPU)
	peers := 3
	if *shots != "" {
		peers = 5
	}
	f := newFleet(t, build(t), peers, "--dev-faults")
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), opts...)
	defer cancel()
	ctx, cancel = chromedp.NewContext(ctx)
	defer cancel()
	if err := chromedp.Do(ctx, chromedp.Navigate("about:blank")); err != nil {
		t.Fatal(err)
	}
	fill(f)
	for _, c := range []struct {
		name string
		test func(x *tab)
	}{
		{"every page fits a phone and says nothing on the console", everyPage},
		{"every page is accessible to axe", accessible},
		{"a write elsewhere appears without a reload", writeElsewhere},
		{"hostile names and values do not run", hostile},
		{"all can be reached by keyboard", keyboard},
		{"who logs in sees what the token covers", login},
		{"a cut shows, and heals", cut},
		{"the stream comes back with the daemon", restart},
		{"screenshots", screenshots},
	} {
		t.Run(c.name, func(t *testing.T) { f.t = t; c.test(open(t, ctx, f)) })
	}
	f.t = t
}

func open(t *testing.T, browser context.Context, f *fleet) *tab {
	ctx, cancel := chromedp.NewContext(browser)
	t.Cleanup(cancel)
	x := &tab{t: t, ctx: ctx, f: f}
	messages := chromedp.Console(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for m, err := range messages {
			if err != nil {
				return
			}
			x.mu.Lock()
			if x.expected == "" || !strings.Contains(m.Text, x.expected) {
				x.said = append(x.said, m.String()+" "+m.URL)
			}
			x.mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		if len(x.said) > 0 {
			t.Errorf("the console: %q", x.said)
		}
	})
	return x
}

func (x *tab) expect(text string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.expected = text
}

// must ends the test if something in the browser fails.
func (x *tab) must(err error) {
	x.t.Helper()
	if err != nil {
		x.t.Fatal(err)
	}
}

func (x *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	x.t.Helper()
	x.must(chromedp.Do(x.ctx, steps...))
}

// page opens a page of n1 and waits until its stream is connected.
func (x *tab) page(path string) {
	x.t.Helper()
	x.do(chromedp.Navigate(x.f.url(0, path)))
	x.until(`document.getElementById("link")?.hasAttribute("data-on")`)
}

// until waits until an expression is true, also across page loads.
func (x *tab) until(expression string) {
	x.t.Helper()
	var err error
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(30 * time.Millisecond) {
		var ok bool
		if ok, err = chromedp.Run(x.ctx, chromedp.Evaluate[bool]("!!("+expression+")")); ok {
			return
		}
	}
	x.t.Fatalf("%s: not within %v: %v; the page says: %s", expression, patience, err, js[string](x, `document.body.innerText`))
}

// shows waits for a text on the page.
func (x *tab) shows(text string) {
	x.t.Helper()
	quoted, _ := json.Marshal(text)
	x.until("document.body?.innerText.includes(" + string(quoted) + ")")
}

func js[T any](x *tab, expression string) T {
	x.t.Helper()
	v, err := chromedp.Run(x.ctx, chromedp.Evaluate[T](expression))
	x.must(err)
	return v
}

// fill writes a record of every kind.
func fill(f *fleet) {
	f.put(0, "config/fleet", `{"region":"eu-central","limits":{"memory_gb":64,"gpus":8},"features":["preempt","spot"],"owner":"platform"}`)
	f.put(1, "config/limits", `{"burst":200}`)
	f.put(0, "long/"+strings.Repeat("x", 300), `"`+strings.Repeat("y", 900)+`"`)
	f.send(0, "PATCH", "/v1/tasks/render-0417/state", `{"status":"running","worker":"w1","labels":["gpu"]}`)
	f.send(1, "PUT", "/v1/tasks/render-0417/progress", `{"progress":0.4,"status":"frame 96 of 240"}`)
	f.send(0, "PATCH", "/v1/tasks/index-rebuild/state", `{"status":"failed","error":"out of memory on shard 4"}`)
	f.send(1, "PUT", "/v1/workers/w1/status", `{"status":"busy","task":"render-0417","running":1,"labels":["gpu","zone=eu"]}`)
	f.send(1, "PUT", "/v1/workers/w1/capacity", `{"capacity":4}`)
	f.send(1, "POST", "/v1/workers/w1/heartbeat", `{"ttl":"10m"}`)
	f.send(2, "POST", "/v1/queues/mail/items", `{"value":{"to":"ada@example.org"},"priority":3}`)
	f.send(0, "POST", "/v1/locks/deploy%2Feu", `{"ttl":"15s"}`)
}

// paths has the path of each page.
var paths = []string{"/", "/ui/keys", "/ui/keys?prefix=long/", "/ui/keys?q=config", "/ui/key?key=config/fleet", "/ui/tasks", "/ui/tasks?which=failed&order=oldest", "/ui/workers", "/ui/queues?name=mail", "/ui/locks?name=deploy/eu", "/ui/conflicts", "/ui/events"}

func everyPage(x *tab) {
	x.do(chromedp.EmulateViewport(360, 740))
	for _, path := range paths {
		x.page(path)
		if wide := js[int](x, `document.documentElement.scrollWidth`); wide > 360 {
			x.t.Errorf("%s is %d pixels wide on a phone of 360: %s", path, wide, js[string](x, `[...document.querySelectorAll("body *")].filter(e => e.getBoundingClientRect().right > 361).slice(0, 5).map(e => e.outerHTML.slice(0, 120)).join("\n")`))
		}
		if empty := js[string](x, `[...document.querySelectorAll("tbody td, tbody th")].filter(e => e.offsetHeight > 2 && !e.textContent.trim() && !e.querySelector("svg, meter, progress")).map(e => e.parentElement.outerHTML.slice(0, 200)).join("\n")`); empty != "" {
			x.t.Errorf("%s: cards with empty lines: %s", path, empty)
		}
		if bad := js[string](x, `[...document.querySelectorAll("input:not([type=hidden]), button, progress, meter, select, svg:not([aria-hidden])")].filter(e => !e.labels?.length && !e.ariaLabel && !e.textContent.trim()).map(e => e.outerHTML).join("\n")`); bad != "" {
			x.t.Errorf("%s: without a label: %s", path, bad)
		}
		if n := js[int](x, `document.querySelectorAll("h1").length + document.querySelectorAll("main").length + document.querySelectorAll("[aria-live]").length`); n != 3 {
			x.t.Errorf("%s: want one heading, one main and one live region", path)
		}
	}
}

func writeElsewhere(x *tab) {
	x.page("/ui/keys?prefix=live/")
	js[int](x, `window.stayed = 1`)
	x.f.put(1, "live/from-n2", `"hello"`)
	x.shows("from-n2")
	x.f.put(2, "live/from-n2", `"changed"`)
	x.shows("changed")
	if !js[bool](x, `window.stayed === 1`) {
		x.t.Error("the page was loaded again")
	}
	js[int](x, `document.getElementById("pause").click(), 1`)
	x.shows("paused")
	x.f.put(1, "live/while-paused", `1`)
	js[int](x, `document.getElementById("pause").click(), 1`)
	x.shows("while-paused")

	x.page("/ui/events?q=live/ev")
	x.f.put(1, "live/event", `"seen"`)
	x.shows("live/event")
}

func hostile(x *tab) {
	const evil = `<img src=x onerror="window.ran=1"><script>window.ran=1<`
	segment := url.PathEscape(evil)
	value, _ := json.Marshal(evil + "/script>")
	x.page("/ui/keys?prefix=evil/")
	x.f.put(1, "evil/"+evil, string(value))
	x.shows(evil) // the stream brought it
	x.f.send(1, "PATCH", "/v1/tasks/"+segment+"/state", `{"status":`+string(value)+`,"error":`+string(value)+`}`)
	x.f.send(1, "PUT", "/v1/workers/"+segment+"/status", `{"status":`+string(value)+`}`)
	q := url.QueryEscape(evil)
	for _, path := range []string{"/ui/keys?prefix=evil/", "/ui/keys?q=" + q, "/ui/key?key=evil/" + q, "/ui/tasks", "/ui/workers", "/ui/events"} {
		x.page(path)
		x.shows(evil)
		if js[bool](x, `window.ran === 1 || document.querySelector("img, main script") !== null`) {
			x.t.Errorf("%s: it ran", path)
		}
	}
	x.expect("Content Security Policy")
	if js[bool](x, `(() => { const s = document.createElement("script"); s.textContent = "window.ran = 1"; document.body.append(s); document.body.setAttribute("onclick", "window.ran = 1"); document.body.click(); return window.ran === 1 })()`) {
		x.t.Error("the policy lets a script within the page run")
	}
}

func keyboard(x *tab) {
	x.page("/ui/keys")
	seen := make(map[string]bool)
	first := ""
	for range 40 {
		x.do(chromedp.KeyEvent(kb.Tab))
		at := js[string](x, `(() => { const e = document.activeElement, s = getComputedStyle(e); return (s.outlineStyle === "none" ? "no outline: " : "") + (e === document.body ? "BODY" : e.textContent.trim() || e.name || e.tagName) })()`)
		if first == "" {
			first = at
		}
		if strings.HasSuffix(at, "BODY") || seen[at] && at == first {
			break // the focus is back at the first element
		}
		seen[at] = true
		if strings.HasPrefix(at, "no outline") {
			x.t.Errorf("the focus cannot be seen: %s", at)
		}
	}
	if !strings.HasPrefix(first, "Skip to") {
		x.t.Errorf("the first stop is %q", first)
	}
	for _, want := range []string{"Overview", "Events", "Pause", "q", "Search", "all keys", "config/"} {
		if !seen[want] {
			x.t.Errorf("%q is not reached: %v", want, seen)
		}
	}
	js[int](x, `document.activeElement.blur(), 1`)
	x.do(chromedp.KeyEvent("/"))
	x.until(`document.activeElement.id === "q"`)
	js[string](x, `document.activeElement.value = ""`) // the driver also types keys that the page handled
	x.do(chromedp.KeyEvent("limits" + kb.Enter))
	x.shows("config/limits")

	// The focused element keeps the focus when the page is renewed.
	x.page("/ui/keys?prefix=focus/")
	x.f.put(0, "focus/b", `1`)
	x.shows("b")
	x.until(`document.querySelector("tbody a")`)
	js[int](x, `document.querySelector("tbody a").focus(), 1`)
	x.f.put(0, "focus/c", `1`)
	x.until(`document.querySelectorAll("tbody tr").length === 2`)
	if !js[bool](x, `document.activeElement.textContent === "b"`) {
		x.t.Error("the focus was lost")
	}
}

func login(x *tab) {
	file := filepath.Join(x.t.TempDir(), "tokens")
	x.must(os.WriteFile(file, []byte("ops all-may-be-seen-by-this-one write:*\nci only-mine-is-seen-by-this read:mine\n"), 0o600))
	x.f = newFleet(x.t, x.f.binary, 1, "--token-file", file)
	x.f.token = "all-may-be-seen-by-this-one"
	x.f.put(0, "mine/k", `1`)
	x.f.put(0, "theirs/k", `1`)
	enter := func(token string) {
		x.until(`document.activeElement.id === "token"`)
		x.do(chromedp.KeyEvent(token + kb.Enter))
	}
	x.do(chromedp.Navigate(x.f.url(0, "/ui/keys?q=k")))
	enter("wrong-wrong-wrong-wrong-wrong")
	x.shows("This daemon does not know that token.")
	enter("only-mine-is-seen-by-this")
	x.shows("mine/k")
	x.until(`document.getElementById("link")?.hasAttribute("data-on")`)
	if js[bool](x, `document.body.innerText.includes("theirs")`) {
		x.t.Error("the token does not cover theirs/k, and it is shown")
	}
	x.shows("Token ci")
	js[int](x, `document.querySelector("footer button").click(), 1`)
	enter("all-may-be-seen-by-this-one")
	x.shows("Token ops")
	x.page("/ui/keys?q=k")
	x.shows("theirs/k")
}

func cut(x *tab) {
	x.page("/")
	x.shows("3 of 3 peers alive")
	x.f.send(2, "POST", "/v1/dev/cut", `{"peers":["n1","n2"]}`)
	x.shows("n3 out of reach")
	x.until(`document.querySelector(".edge.bad")`)
	x.f.send(2, "POST", "/v1/dev/heal", "")
	x.shows("3 of 3 peers alive")
}

func restart(x *tab) {
	x.page("/ui/keys?prefix=again/")
	js[int](x, `window.stayed = 1`)
	x.expect("ERR_") // connection refused, or a similar error
	x.f.stop(0)
	x.shows("not connected")
	x.f.start(0)
	x.f.wait(0, "/readyz")
	x.until(`document.getElementById("link").hasAttribute("data-on")`)
	x.f.put(1, "again/k", `1`)
	x.shows("1 key below again/")
	if !js[bool](x, `window.stayed === 1`) {
		x.t.Error("the page was loaded again")
	}
}

// screenshots makes the pictures for the documents: five peers after a minute of work, then without
// one of them.
func screenshots(x *tab) {
	if *shots == "" {
		x.t.Skip("no -shots")
	}
	begin := time.Now()
	for i := 0; time.Since(begin) < time.Minute; i++ {
		x.f.put(i%3, fmt.Sprintf("render/frame-%03d", i%240), strconv.Itoa(i))
		wave := 1.2 + math.Sin(time.Since(begin).Seconds()/4)
		time.Sleep(time.Duration(wave * float64(40*time.Millisecond)))
	}
	x.do(chromedp.EmulateViewport(1120, 830))
	x.shot("dashboard-key.png", "/ui/key?key=config/fleet", "light", "config")
	x.shot("dashboard-light.png", "/", "light", "1 task (index-rebuild) failed")
	x.f.send(4, "POST", "/v1/dev/cut", `{"peers":["n1","n2","n3","n4"]}`)
	x.shot("dashboard-dark.png", "/", "dark", "n5 out of reach")
}

func (x *tab) shot(file, path, scheme, text string) {
	x.t.Helper()
	media := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}
	_, err := chromedp.Call(x.ctx, emulation.SetEmulatedMedia, media)
	x.must(err)
	x.page(path)
	x.shows(text)
	png, err := chromedp.Run(x.ctx, chromedp.CaptureScreenshot())
	x.must(err)
	x.must(os.WriteFile(filepath.Join(*shots, file), png, 0o644))
}
