package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"example.com/notifier/db/dbtest"
	"github.com/chromedp/chromedp"
	"github.com/jackc/pgx/v5"
)

// readmePage is the README's page, for another server.
func readmePage(t *testing.T, events string) string {
	t.Helper()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	page := regexp.MustCompile("(?s)```html\n(.*?)```").FindSubmatch(readme)
	const there = `"http://localhost:8080/events?topic=*.*.*"`
	if page == nil || !strings.Contains(string(page[1]), there) {
		t.Fatal("the README has no page of its own")
	}
	quoted, _ := json.Marshal(events)
	const count = `<script>
		let sources = 0, verdicts = [];
		const Original = EventSource;
		window.EventSource = class extends Original {
			constructor(url) {
				super(url);
				sources++;
				this.addEventListener("notifier", m => { if ("verdict" in JSON.parse(m.data)) verdicts.push(m.data); });
			}
		};
	</script>`
	return "<!doctype html>" + count + strings.Replace(string(page[1]), there, string(quoted), 1)
}

// seen is what a page shows.
type seen struct {
	Keys     []string `json:"keys"`
	Sources  int      `json:"sources"`  // EventSources it has made
	Verdicts []string `json:"verdicts"` // it was told
}

func look(t *testing.T, page context.Context) seen {
	t.Helper()
	const what = `({ keys: [...document.querySelectorAll("li")].map(li => li.textContent), sources, verdicts })`
	found, err := chromedp.Run(page, chromedp.Evaluate[seen](what))
	if err != nil {
		t.Fatalf("look at the page: %v", err)
	}
	return found
}

// follows waits until a page has been told a number of verdicts: what was committed
// before the first is not for it.
func follows(t *testing.T, page context.Context, verdicts int) {
	t.Helper()
	dbtest.Eventually(t, "the page follows", func() bool { return len(look(t, page).Verdicts) >= verdicts })
}

// freeAddress is where several servers listen, one after another.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// committed is what was committed.
type committed struct {
	t    *testing.T
	conn *pgx.Conn
	keys []string
}

// add commits some events.
func (c *committed) add(n int) {
	c.t.Helper()
	for range n {
		key := fmt.Sprint(len(c.keys))
		if _, err := c.conn.Exec(c.t.Context(), `INSERT INTO notifier.events (type, key) VALUES ('t', $1)`, key); err != nil {
			c.t.Fatal(err)
		}
		c.keys = append(c.keys, key)
	}
}

// waitFor waits until a page shows each once, in order.
func (c *committed) waitFor(page context.Context) (found seen) {
	c.t.Helper()
	dbtest.Eventually(c.t, "the page shows all", func() bool {
		found = look(c.t, page)
		return len(found.Keys) >= len(c.keys)
	})
	if !slices.Equal(found.Keys, c.keys) || slices.ContainsFunc(found.Verdicts, func(v string) bool { return strings.Contains(v, "gap") }) {
		c.t.Fatalf("committed were %v, the page shows %+v", c.keys, found)
	}
	return found
}

// A page with an EventSource and nothing else shows each event once, though its
// server is stopped, and killed, and started again, and events are committed
// meanwhile.
func TestEventSource_AcrossRestarts(t *testing.T) {
	t.Parallel()
	database, address := dbtest.New(t), freeAddress(t)
	env := []string{"NOTIFIER_DATABASE_URL=" + database, "NOTIFIER_ADDR=" + address, "NOTIFIER_JWT_SECRET=" + strings.Repeat("secret", 8)}
	_, token, _ := run(t, env, "token", "--user", "root", "--role", "admin")
	serve := func() *process {
		p := start(t, env, "serve")
		p.says(p.err, "msg=ready")
		return p
	}
	html := readmePage(t, "http://"+address+"/events?topic=t.*.*&token="+strings.TrimSpace(token))
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, html) }))
	defer site.Close()
	server := serve()
	page := browser(t, site.URL)
	c := &committed{t: t, conn: dbtest.Connect(t, database)}
	follows(t, page, 1)
	c.add(10)
	c.waitFor(page)
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		server.signal(s)
		c.add(10)
		server.wait()
		c.add(10)
		server = serve()
		c.add(10)
		if found := c.waitFor(page); found.Sources != 1 {
			t.Errorf("after %v: the page has made %d EventSources", s, found.Sources)
		}
	}
}

// Behind a proxy that answers by itself while there is no server, EventSource gives
// up, and the page begins anew where it was.
func TestEventSource_BehindAProxy(t *testing.T) {
	t.Parallel()
	database, address := dbtest.New(t), freeAddress(t)
	server, _ := serving(t, database, "--addr", address)
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: address})
	proxy.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	var site *httptest.Server
	site = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/events" {
			proxy.ServeHTTP(w, r)
			return
		}
		_, _ = fmt.Fprint(w, readmePage(t, site.URL+"/events?topic=t.*.*"))
	}))
	defer site.Close()
	page := browser(t, site.URL)
	follows(t, page, 1)
	c := &committed{t: t, conn: dbtest.Connect(t, database)}
	c.add(10)
	c.waitFor(page)
	server.signal(syscall.SIGKILL)
	server.wait()
	c.add(10)
	dbtest.Eventually(t, "the page has begun anew", func() bool { return look(t, page).Sources > 1 })
	serving(t, database, "--addr", address)
	c.add(10)
	c.waitFor(page)
	if err := chromedp.Cancel(page); err != nil { // before the proxy, which waits for it
		t.Error(err)
	}
}

// The README's other line.
func TestReadme_CurlFollows(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile("(?m)^curl -N '(localhost:8080)(/events.*)'$").FindSubmatch(readme)
	if line == nil {
		t.Fatal("the README has no such line")
	}
	program, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("no curl")
	}
	database := dbtest.New(t)
	_, server := serving(t, database)
	c := &committed{t: t, conn: dbtest.Connect(t, database)}
	c.add(3)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	curl := exec.CommandContext(ctx, program, "-sN", server+string(line[2]))
	out, err := curl.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := curl.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	var keys []string
	for len(keys) < 6 && lines.Scan() {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		var e struct{ Key *string }
		if !ok || json.Unmarshal([]byte(data), &e) != nil || e.Key == nil {
			continue
		}
		if keys = append(keys, *e.Key); len(keys) == 3 {
			c.add(3)
		}
	}
	if !slices.Equal(keys, c.keys) {
		t.Errorf("curl shows %v, committed were %v", keys, c.keys)
	}
	cancel()
	_ = curl.Wait() // it was stopped
}
