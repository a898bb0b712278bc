package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"example.com/notifier/db/dbtest"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
)

// elsewhere is a page of another origin that keeps what the module tells it.
const elsewhere = `<!doctype html><meta charset="utf-8"><title>elsewhere</title><link rel="icon" href="data:,">
<script type="module">
import { Notifier } from "%[1]s/notifier.js";
window.told = { keys: [], states: [], verdicts: [], gaps: 0, revoked: [], tokens: 0, errors: 0, cursors: 0 };
const token = async () => {
	told.tokens++;
	const answer = await fetch("/token");
	if (!answer.ok) throw new Error("no token");
	return answer.text();
};
window.follow = options => {
	const n = window.notifier = new Notifier({ token, ...options });
	n.addEventListener("event", ({ event, cursor }) => { told.keys.push(event.key); if (cursor && cursor === n.cursor) told.cursors++; });
	n.addEventListener("state", ({ state, reason }) => told.states.push(state + (reason ? " " + reason : "")));
	n.addEventListener("verdict", ({ verdict }) => told.verdicts.push(verdict));
	n.addEventListener("gap", ({ cursor }) => { if (cursor) told.gaps++; });
	n.addEventListener("revoked", ({ topics }) => told.revoked.push(...topics));
	n.addEventListener("error", () => told.errors++);
};
window.ready = true;
</script>`

// told is what the page was told.
type told struct {
	Keys, States, Verdicts, Revoked []string
	Gaps, Tokens, Errors, Cursors   int
}

// foreign is a server where clients need a token, and such a page.
type foreign struct {
	*console
	token atomic.Pointer[string] // that the page gets; nil: none
}

// visit opens the page; through is by which way it reaches the server.
func visit(t *testing.T, through func(server string) string, args ...string) *foreign {
	t.Helper()
	database := dbtest.New(t)
	f := &foreign{console: &console{sql: dbtest.Connect(t, database), env: append(withTokens(database, freeAddress(t)), args...)}}
	f.serve(t)
	at := f.at
	if through != nil {
		at = through(at)
	}
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token := f.token.Load()
		switch {
		case r.URL.Path != "/token":
			_, _ = fmt.Fprintf(w, elsewhere, at)
		case token == nil:
			w.WriteHeader(http.StatusServiceUnavailable)
		default:
			_, _ = io.WriteString(w, *token)
		}
	}))
	t.Cleanup(site.Close)
	f.window = openWindow(t, site.URL, "Failed to load resource")
	f.becomes("the page has the module", "window.ready")
	return f
}

// gives has the page get a token from now on.
func (f *foreign) gives(token string) { f.token.Store(&token) }

func (f *foreign) follow(options string) {
	f.t.Helper()
	value[any](f.window, "follow("+options+"), null")
}

func (f *foreign) told() told { return value[told](f.window, "told") }

// hears waits until the page was told something.
func (f *foreign) hears(what string, so func(told) bool) told {
	f.t.Helper()
	var last told
	defer func() {
		if f.t.Failed() {
			f.t.Logf("the page was told %+v", last)
		}
	}()
	dbtest.Eventually(f.t, what, func() bool {
		last = f.told()
		return so(last)
	})
	return last
}

// has waits until the page has each of these events, once, in their order.
func (f *foreign) has(keys ...string) told {
	f.t.Helper()
	last := f.hears(fmt.Sprint(len(keys), " events"), func(t told) bool { return len(t.Keys) >= len(keys) })
	if !slices.Equal(last.Keys, keys) {
		f.t.Fatalf("the page has %q, not %q", last.Keys, keys)
	}
	return last
}

// live waits until the page follows for the nth time.
func (f *foreign) live(n int) {
	f.t.Helper()
	f.hears("it follows", func(t told) bool { return len(t.Verdicts) >= n })
}

func keysTo(n int) (keys []string) {
	for i := range n {
		keys = append(keys, fmt.Sprint(i))
	}
	return keys
}

// The server is stopped, killed and started again, and the line dies in silence; a
// page that is loaded again goes on, too. Each event comes once.
func TestModule_EachEventOnce(t *testing.T) {
	t.Parallel()
	var line *dbtest.Proxy
	f := visit(t, func(server string) string {
		line = dbtest.NewProxy(t, server)
		return line.URL()
	}, "NOTIFIER_PING_INTERVAL=1s")
	f.gives(f.console.token("--user", "root", "--role", "admin"))
	const options = `{ topics: ["t.*.*", "t.a.*"], storage: sessionStorage, name: "here" }`
	f.follow(options)
	f.live(1)
	f.publish("0", "1")
	f.has("0", "1")
	f.server.signal(syscall.SIGTERM)
	f.publish("2")
	f.server.wait()
	f.publish("3")
	f.serve(t)
	f.publish("4")
	f.has(keysTo(5)...)
	f.server.signal(syscall.SIGKILL)
	f.server.wait()
	f.publish("5")
	f.serve(t)
	f.has(keysTo(6)...)
	line.Stall()
	f.publish("6")
	f.hears("it notices that the line is dead", func(t told) bool { return slices.Contains(t.States, "waiting silent") })
	line.Resume()
	last := f.has(keysTo(7)...)
	if last.Cursors != 7 || last.Gaps+last.Errors > 0 || slices.Contains(last.Verdicts, "gap") || last.Tokens != 1 {
		t.Errorf("the page was told %+v", last)
	}
	value[any](f.window, "location.reload(), null")
	f.becomes("the page is there again", "window.ready && told.keys.length === 0")
	f.publish("7") // not before: the page that goes would have it
	f.follow(options)
	f.has("7")
	value[any](f.window, "notifier.close(), null")
	if last := f.told(); last.States[len(last.States)-1] != "closed closed" {
		t.Errorf("states were %q", last.States)
	}
}

// What is stored since a time comes once, although it is cut short several times, and
// what follows does, too.
func TestModule_ReplayCutShort(t *testing.T) {
	t.Parallel()
	var streams atomic.Int64
	f := visit(t, func(server string) string {
		target, _ := url.Parse(server)
		proxy := httputil.NewSingleHostReverseProxy(target)
		proxy.FlushInterval = -1
		proxy.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
		proxy.ModifyResponse = func(r *http.Response) error {
			if r.Request.Method == http.MethodGet && r.Request.URL.Path == "/events" {
				if n := streams.Add(1); n <= 3 {
					r.Body = &cutting{r.Body, n * 100_000}
				}
			}
			return nil
		}
		site := httptest.NewServer(proxy)
		t.Cleanup(site.Close)
		return site.URL
	})
	f.gives(f.console.token("--user", "root", "--role", "admin"))
	f.exec(`INSERT INTO notifier.events (type, key, payload, created_at) SELECT 't', i::text, to_json(repeat('x', 1000)), '2026-01-01'::timestamptz + i * interval '1s' FROM generate_series(0, 499) AS i`)
	f.follow(`{ topics: ["t.*.*"], since: new Date("2026-01-01T00:00:00Z") }`)
	f.has(keysTo(500)...)
	f.becomes("it has a cursor", "notifier.cursor")
	f.publish("500")
	f.has(keysTo(501)...)
	if n := streams.Load(); n != 4 {
		t.Errorf("there were %d streams", n)
	}
	value[any](f.window, "notifier.close(), null") // before the proxy, which waits for it
}

// cutting ends in the middle.
type cutting struct {
	io.ReadCloser
	left int64
}

func (c *cutting) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, errors.New("cut")
	}
	n, err := c.ReadCloser.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	return n, err
}

// A token that ends is renewed, also when the page has none for a while; what access
// is taken to is told, and what is left goes on; what was missed for good is told;
// and what can't get better ends.
func TestModule_TokensGapsRevocations(t *testing.T) {
	t.Parallel()
	f := visit(t, nil)
	f.password("the first password", "add", "ann")
	f.exec(`INSERT INTO notifier.dataset_permissions (user_id, dataset_id) VALUES ('ann', 'x'), ('ann', 'y')`)
	f.follow(`{ topics: ["datasetUpdate.*.x", "datasetUpdate.*.y", "t.*.*"], cursor: "of-another-server" }`)
	f.hears("the page has no token", func(t told) bool { return t.Errors > 0 && slices.Contains(t.States, "waiting no_token") })
	f.gives(f.login("ann", "the first password"))
	f.live(1)
	if last := f.told(); last.Gaps != 1 || !slices.Equal(last.Verdicts, []string{"gap"}) {
		t.Errorf("of a cursor that is not taken the page was told %+v", last)
	}
	f.publish("1")
	tokens := f.has("1").Tokens
	f.token.Store(nil)
	f.password("the second password", "passwd", "ann")
	f.hears("its token has ended", func(t told) bool { return t.Tokens > tokens })
	f.gives(f.login("ann", "the second password"))
	f.live(2)
	f.publish("2")
	if last := f.has("1", "2"); last.Gaps != 1 {
		t.Errorf("when the token had ended the page was told %+v", last)
	}
	f.exec(`DELETE FROM notifier.dataset_permissions WHERE dataset_id = 'x'`)
	f.hears("access was revoked", func(t told) bool { return slices.Equal(t.Revoked, []string{"datasetUpdate.*.x"}) })
	f.exec(`INSERT INTO notifier.events (type, key, dataset_id) VALUES ('datasetUpdate', 'x', 'x'), ('datasetUpdate', 'y', 'y')`)
	f.has("1", "2", "y")

	f.server.signal(syscall.SIGTERM) // and the log becomes another one
	f.server.wait()
	f.exec(`DELETE FROM notifier.events`)
	f.publish("lost")
	f.serve(t)
	f.live(3)
	f.publish("3")
	if last := f.has("1", "2", "y", "3"); last.Gaps != 2 || last.Verdicts[2] != "gap" {
		t.Errorf("of another log the page was told %+v", last)
	}
	value[any](f.window, "notifier.close(), null")
	f.follow(`{ topics: ["datasetUpdate.*.y"] }`)
	f.live(4)
	f.exec(`DELETE FROM notifier.dataset_permissions`)
	f.hears("nothing is left", func(t told) bool { return slices.Contains(t.States, "closed unauthorized") })
	f.follow(fmt.Sprintf(`{ recipient: "me", token: %q }`, f.console.token("--user", "nobody")))
	f.hears("nobody knows the user", func(t told) bool { return slices.Contains(t.States, "closed refused") })
	f.follow(`{ topics: ["t.*.*"], token: "made-up" }`)
	f.hears("a token that is no good", func(t told) bool { return slices.Contains(t.States, "closed token_refused") })
}

// A topic that is revoked while nothing is followed ends as one that is followed does:
// the others go on.
func TestModule_RevokedWhileAway(t *testing.T) {
	t.Parallel()
	f := visit(t, nil)
	f.exec(`INSERT INTO notifier.users (user_id) VALUES ('ann')`)
	f.exec(`INSERT INTO notifier.dataset_permissions (user_id, dataset_id) VALUES ('ann', 'x'), ('ann', 'y'), ('ann', 'z')`)
	f.gives(f.console.token("--user", "ann"))
	f.follow(`{ topics: ["datasetUpdate.*.x", "datasetUpdate.*.y", "datasetUpdate.*.z"] }`)
	f.live(1)
	f.server.signal(syscall.SIGTERM)
	f.server.wait()
	f.exec(`DELETE FROM notifier.dataset_permissions WHERE dataset_id <> 'y'`)
	f.exec(`INSERT INTO notifier.events (type, key, dataset_id) VALUES ('datasetUpdate', 'x', 'x'), ('datasetUpdate', 'y', 'y')`)
	f.serve(t)
	if last := f.has("y"); !slices.Equal(last.Revoked, []string{"datasetUpdate.*.x", "datasetUpdate.*.z"}) || last.Gaps > 0 {
		t.Errorf("the page was told %+v", last)
	}
	f.server.signal(syscall.SIGTERM)
	f.server.wait()
	f.exec(`DELETE FROM notifier.dataset_permissions`)
	f.serve(t)
	f.hears("nothing is left", func(t told) bool { return slices.Contains(t.States, "closed refused") })
}

// Who is online again, or looks at the page again, waits no longer; and a page that
// was asleep does not take an old line for a live one. No pause ends by itself here.
func TestModule_ComesBackWithThePage(t *testing.T) {
	t.Parallel()
	f := visit(t, nil)
	f.gives(f.console.token("--user", "root", "--role", "admin"))
	f.follow(`{ topics: ["t.*.*"] }`)
	f.live(1)
	value[any](f.window, `Math.random = () => 10_000, null`)
	state := func(so string) {
		t.Helper()
		f.becomes("its state is "+so, fmt.Sprintf("notifier.state.state === %q", so))
	}
	restart := func() {
		t.Helper()
		f.server.signal(syscall.SIGKILL) // what stops says when to come again, and that counts
		f.server.wait()
		state("waiting")
		f.serve(t)
	}
	network := func(offline bool) {
		t.Helper()
		if _, err := chromedp.Call(f.ctx, network.OverrideNetworkState, network.OverrideNetworkStateParams{Offline: offline}); err != nil {
			t.Fatal(err)
		}
		f.becomes("the browser knows", fmt.Sprintf("navigator.onLine === %t", !offline))
	}
	look := func(visibility string) {
		t.Helper()
		value[any](f.window, fmt.Sprintf(`Object.defineProperty(document, "visibilityState", { value: %q, configurable: true }),
			document.dispatchEvent(new Event("visibilitychange")), null`, visibility))
	}
	restart()
	network(true)
	state("waiting")
	network(false)
	f.live(2)
	restart()
	look("hidden")
	state("waiting")
	look("visible")
	f.live(3)
	value[any](f.window, `{ const now = Date.now; Date.now = () => now() + 60_000; null }`)
	look("visible")
	f.hears("the line is old", func(t told) bool { return slices.Contains(t.States, "waiting silent") })
	look("visible")
	f.live(4)
	f.publish("1")
	if last := f.has("1"); last.Gaps+last.Errors > 0 {
		t.Errorf("the page was told %+v", last)
	}
}

// The README's page shows what is committed, from another origin.
func TestReadme_ModulePage(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	var html string
	for _, page := range regexp.MustCompile("(?s)```html\n(.*?)```").FindAllStringSubmatch(string(readme), -1) {
		if strings.Contains(page[1], "notifier.js") {
			html = page[1]
		}
	}
	const there = "https://notifier.example"
	if !strings.Contains(html, there) {
		t.Fatal("the README has no such page")
	}
	database := dbtest.New(t)
	c := &console{sql: dbtest.Connect(t, database), env: withTokens(database, freeAddress(t))}
	c.serve(t)
	code, token, _ := run(t, c.env, "token", "--user", "root", "--role", "admin")
	if code != 0 {
		t.Fatal("no token")
	}
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/token" {
			_, _ = io.WriteString(w, strings.TrimSpace(token))
			return
		}
		_, _ = io.WriteString(w, `<!doctype html><link rel="icon" href="data:,">`+strings.ReplaceAll(html, there, c.at))
	}))
	defer site.Close()
	c.window = openWindow(t, site.URL)
	c.becomes("it follows", `document.title === "live"`)
	c.exec(`INSERT INTO notifier.events (type, key) VALUES ('issueUpdate', '7')`)
	c.shows("#list", "7")
}
