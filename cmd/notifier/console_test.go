package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"

	"example.com/notifier/db/dbtest"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/jackc/pgx/v5"
)

// console is a server with its console in a browser.
type console struct {
	*window
	sql    *pgx.Conn
	server *process
	env    []string
	at     string
}

// withTokens is what a server is run with so that clients need a token.
func withTokens(database, address string) []string {
	return []string{"NOTIFIER_DATABASE_URL=" + database, "NOTIFIER_ADDR=" + address, "NOTIFIER_JWT_SECRET=" + strings.Repeat("secret", 8)}
}

// openConsole starts a server where clients need a token, and opens its console.
func openConsole(t *testing.T, expected ...string) *console {
	t.Helper()
	database := dbtest.New(t)
	c := &console{sql: dbtest.Connect(t, database), env: withTokens(database, freeAddress(t))}
	c.serve(t)
	c.window = openWindow(t, c.at, append(expected, "401 (Unauthorized) "+c.at)...)
	c.looks(1280, 800, "light")
	return c
}

// serve starts the server, at the address that it had.
func (c *console) serve(t *testing.T) {
	t.Helper()
	c.server = start(t, c.env, "serve", "--admin-addr", "127.0.0.1:0")
	c.server.says(c.server.err, "msg=ready")
	c.at = "http://" + c.server.address()
}

// token returns one of a user.
func (c *console) token(args ...string) string {
	c.t.Helper()
	code, token, problem := run(c.t, c.env, append([]string{"token"}, args...)...)
	if code != 0 {
		c.t.Fatal(problem)
	}
	return strings.TrimSpace(token)
}

func (c *console) exec(sql string, args ...any) {
	c.t.Helper()
	if _, err := c.sql.Exec(context.WithoutCancel(c.t.Context()), sql, args...); err != nil {
		c.t.Fatal(err)
	}
}

// password runs a command that reads one: user add, or user passwd, which ends what
// rests on the old one.
func (c *console) password(text string, args ...string) {
	c.t.Helper()
	p := start(c.t, c.env, append([]string{"user"}, args...)...)
	_, _ = io.WriteString(p.in, text+"\n")
	p.in.Close()
	if p.wait() != 0 {
		c.t.Fatal(p.err)
	}
}

// login returns the token that the server gives for a password.
func (c *console) login(user, password string) string {
	c.t.Helper()
	r, err := http.NewRequestWithContext(c.t.Context(), http.MethodGet, c.at+"/api/v3/users/"+user+"/token", nil)
	if err != nil {
		c.t.Fatal(err)
	}
	r.SetBasicAuth(user, password)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		c.t.Fatal(err)
	}
	defer answer.Body.Close()
	var got struct{ Token string }
	if err := json.NewDecoder(answer.Body).Decode(&got); err != nil || got.Token == "" {
		c.t.Fatalf("no token: %s, %v", answer.Status, err)
	}
	return got.Token
}

// signInAs shows a password, and waits until events are followed.
func (c *console) signInAs(user, password string) {
	c.t.Helper()
	c.click("[name=way][value=password] + span")
	c.types("#user", user)
	c.types("#password", password)
	c.press("\r")
	c.shows("#status", "Live")
}

// signIn shows a token, and waits until events are followed.
func (c *console) signIn(token string) {
	c.t.Helper()
	c.types("#token", token)
	c.click("#enter")
	c.shows("#status", "Live")
}

// watch has another client follow events, as an admin for that user, until the test
// ends.
func (c *console) watch(user string) *process {
	c.t.Helper()
	return start(c.t, nil, "watch", "--url", c.at, "--user", user, "--token", c.token("--user", "root", "--role", "admin"))
}

// tryNow ends the pause, if it has not ended by itself.
func (c *console) tryNow() {
	c.t.Helper()
	value[any](c.window, `document.querySelector("#reconnect:not([hidden])")?.click(), null`)
}

// keys returns those of the events in the list, the newest first.
func (c *console) keys() []string {
	c.t.Helper()
	return value[[]string](c.window, `[...document.querySelectorAll("#list [role=option]:not([hidden]) .what span")].map(e => e.textContent)`)
}

// lists waits until the list has these keys, the newest first, and none other.
func (c *console) lists(keys ...string) {
	c.t.Helper()
	var got []string
	defer c.shotOnFailure()
	dbtest.Eventually(c.t, fmt.Sprint("the list shows ", keys), func() bool {
		got = c.keys()
		return len(got) >= len(keys)
	})
	if !slices.Equal(got, keys) {
		c.t.Fatalf("the list shows %q, not %q", got, keys)
	}
}

// publish commits events of the type t with these keys.
func (c *console) publish(keys ...string) {
	c.t.Helper()
	for _, key := range keys {
		c.exec(`INSERT INTO notifier.events (type, action, key, payload) VALUES ('t', 'a', $1, '{"n": 12345678901234567890.10}')`, key)
	}
}

// A user signs in, sees events come, stops and goes on, filters, replays, looks into
// one, and chooses what to follow. What only admins may see is not offered.
func TestConsole_Watch(t *testing.T) {
	t.Parallel()
	c := openConsole(t, "403 (Forbidden)") // it asks whether it may see more
	c.exec(`INSERT INTO notifier.users (user_id) VALUES ('ann')`)
	c.types("#token", "made-up")
	c.click("#enter")
	c.shows("#sign-in-problem", "not valid")
	c.signIn(c.token("--user", "ann"))
	if value[bool](c.window, `!document.querySelector("#tabs").hidden || /token|eyJ/.test(location.href) || sessionStorage.length > 0`) {
		t.Error("a user sees an admin's tabs, or the token is kept or in the address")
	}
	c.publish("1", "2")
	c.lists("2", "1")
	c.click("#pause")
	c.publish("3", "4", "5")
	c.shows("#pause", "Continue (3 new)")
	c.lists("2", "1")
	c.click("#pause")
	c.lists("5", "4", "3", "2", "1")
	c.types("#filter", `"KEY":"4"`)
	c.shows("#count", "1 found")
	c.lists("4")
	value[any](c.window, `{ const f = document.querySelector("#filter"); f.value = ""; f.dispatchEvent(new Event("input")); null }`)
	c.click("#clear")
	c.lists()
	c.click(`[data-minutes="10"]`)
	c.lists("5", "4", "3", "2", "1")
	c.publish("6")
	c.lists("6", "5", "4", "3", "2", "1")

	c.exec(`INSERT INTO notifier.events (type, action, key, payload, original) VALUES ('u', 'update', '7', '{"a":1, "b": [2]}', '{"a":0, "b": [2]}')`)
	c.lists("7", "6", "5", "4", "3", "2", "1")
	c.click("#list li:nth-child(2)")
	c.shows("#code", `"n": 12345678901234567890.10`) // not as JavaScript's number
	c.click("#list li:nth-child(1)")
	c.click(`[data-view="difference"]`)
	c.shows("#code", "-  \"a\": 0,\n+  \"a\": 1,\n   \"b\": [")

	c.types("#topic", "u.*")
	c.press("\r")
	c.shows("#topic-problem", "TYPE.ACTION.KEY")
	c.types("#topic", "u.*.*")
	c.press("\r")
	c.shows("#chips", "u.*.*")
	c.shows("#status", "Live")
	c.publish("not followed")
	c.exec(`INSERT INTO notifier.events (type, key) VALUES ('u', '8')`)
	c.lists("8", "7", "6", "5", "4", "3", "2", "1")
	c.click("#mine")
	c.shows("#status", "Live")
	c.exec(`INSERT INTO notifier.events (type, key, recipient) VALUES ('u', '9', NULL), ('u', '10', 'ann')`)
	c.lists("10", "8", "7", "6", "5", "4", "3", "2", "1")
	c.click("#mine")
	c.exec(`INSERT INTO notifier.dataset_permissions (user_id, dataset_id) VALUES ('ann', 'x')`)
	c.types("#topic", "datasetUpdate.*.x")
	c.press("\r")
	c.shows("#chips", "datasetUpdate.*.x")
	c.shows("#status", "Live")
	c.exec(`DELETE FROM notifier.dataset_permissions`)
	c.shows("#notices", "Access revoked datasetUpdate.*.x")
	c.shot("revoked")
	c.becomes("only the other topic is followed", `document.querySelectorAll("#chips li").length === 1`)
	c.exec(`INSERT INTO notifier.events (type, key, recipient) SELECT 'u', i::text, 'ann' FROM generate_series(1, 5000) AS i`)
	c.shows("#count", "5,009 events · the last 1,000 shown")
	if n := value[int](c.window, `document.querySelectorAll("#list li").length`); n != 1000 {
		t.Errorf("the list has %d rows", n)
	}
	c.click("#sign-out")
	c.shows("#sign-in", "Token")
	if got := c.keys(); len(got) > 0 {
		t.Errorf("the next one at this screen sees %q", got)
	}
}

// A password does for a token, which can be kept in the tab; and where nobody has to
// sign in, nobody is asked to.
func TestConsole_WaysIn(t *testing.T) {
	t.Parallel()
	c := openConsole(t, "403 (Forbidden)")
	const password = "correct horse"
	c.password(password, "add", "ann")
	c.click("[name=way][value=password] + span")
	c.types("#user", "ann")
	c.types("#password", "wrong")
	c.press("\r")
	c.shows("#sign-in-problem", "wrong user or password")
	c.types("#password", password)
	c.click("#keep")
	c.press("\r")
	c.shows("#status", "Live")
	c.shows("#who-name", "ann")
	c.do(chromedp.Reload())
	c.shows("#status", "Live")
	if value[bool](c.window, fmt.Sprintf(`JSON.stringify(sessionStorage).includes(%q) || localStorage.length > 0 || document.cookie !== ""`, password)) {
		t.Error("the password is kept, or the token elsewhere than in the tab")
	}
	c.click("#sign-out")
	c.do(chromedp.Reload())
	c.shows("#sign-in", "Connect")

	_, open := serving(t, c.sql.Config().ConnString())
	c.do(chromedp.Navigate(open))
	c.shows("#status", "Live")
	c.publish("1")
	c.lists("1")
	c.click("#tab-connections")
	c.shows("#instances", "anonymous")
	c.do(chromedp.Navigate("about:blank")) // before that server ends
}

// A token that is exchanged for a new one in time belongs to who has signed in: one
// that comes when somebody else has done so is nobody's. A page that is loaded again
// does not know how old its token is, and has it exchanged.
func TestConsole_TokenIsRenewed(t *testing.T) {
	t.Parallel()
	c := openConsole(t, "403 (Forbidden)")
	c.password("the password of ann", "add", "ann")
	c.password("the password of bob", "add", "bob")
	value[any](c.window, `{
		const later = window.setTimeout, ask = window.fetch;
		window.setTimeout = (work, pause) => pause === 1_800_000 ? (window.renew = work, 0) : later(work, pause);
		window.asked = [];
		window.fetch = async (url, how) => {
			if (String(url).includes("/events")) asked.push(how.headers.Authorization);
			if (how.headers.Authorization === window.held) await new Promise(resolve => { window.release = resolve; });
			return ask(url, how);
		};
		null }`)
	c.signInAs("ann", "the password of ann")
	value[any](c.window, `window.held = asked.at(-1), renew(), null`)
	c.becomes("a new token is asked for", "window.release")
	c.click("#sign-out")
	c.signInAs("bob", "the password of bob")
	value[any](c.window, `window.held = undefined, window.bobs = asked.at(-1), window.before = asked.length, release(), null`)
	c.becomes("the exchange is over", `performance.getEntriesByType("resource").filter(e => e.name.includes("/users/ann/token")).length === 2`)
	c.click("#quick button")
	c.becomes("it follows again", "asked.length > before")
	if !value[bool](c.window, "asked.at(-1) === bobs && bobs.length > 20") {
		t.Error("bob goes on with a token of somebody else's")
	}
	c.click("#sign-out")
	c.click("#keep")
	c.signInAs("ann", "the password of ann")
	c.do(chromedp.Reload())
	c.shows("#status", "Live")
	c.becomes("the token is exchanged", `performance.getEntriesByType("resource").some(e => e.name.includes("/users/ann/token"))`)
}

// Nothing of an event is taken for HTML.
func TestConsole_Injection(t *testing.T) {
	t.Parallel()
	c := openConsole(t)
	const evil = `"><img src=x onerror="window.hacked=1"><script>window.hacked=1</script>`
	c.signIn(c.token("--user", evil, "--role", "admin"))
	c.exec(`INSERT INTO notifier.events (type, action, key, recipient, dataset_id, principal, payload, original)
		VALUES ($1, $1, $1, $1, $1, $1, to_json($1::text), to_json('was ' || $1))`, evil)
	c.lists(evil)
	c.click("#list li")
	for _, view := range []string{"payload", "original", "difference"} {
		c.click(`[data-view="` + view + `"]`)
		c.shows("#code", "<img src=x")
	}
	c.click("#tab-connections")
	c.shows("#instances", "<img src=x")
	c.click("#instances button")
	c.shows("#drop-title", "<img src=x")
	c.click("#drop-cancel")
	c.click("#tab-events")
	c.types("#topic", evil+".*."+evil)
	c.press("\r")
	c.shows("#chips", "<img src=x")
	c.shows("#status", "Live")
	if value[bool](c.window, `"hacked" in window || document.querySelectorAll("main img, main script").length > 0`) {
		t.Error("an event's text was taken for HTML")
	}
}

// An admin sees the connections of all instances, which of these is silent, and
// drops a user.
func TestConsole_DropUser(t *testing.T) {
	t.Parallel()
	c := openConsole(t)
	c.signIn(c.token("--user", "root", "--role", "admin"))
	other := start(t, append(slices.Clone(c.env), "NOTIFIER_ADDR=127.0.0.1:0"), "serve", "--admin-addr", "127.0.0.1:0")
	other.says(other.err, "msg=ready")
	dropped := c.watch("bob")
	c.click("#tab-connections")
	c.shows("#connections-count", "2 connections · 2 instances")
	c.shows("#instances", "bob")
	c.types("#find-user", "bo")
	c.becomes("others are not shown", `[...document.querySelectorAll("#instances tbody tr:not([hidden])")].length === 1`)
	c.click("#instances tr:not([hidden]) button")
	c.shows("#drop-title", "Drop bob?")
	c.press("\x1b")
	c.becomes("it was thought better of", `!document.querySelector("#drop").open`)
	c.click("#instances tr:not([hidden]) button")
	c.click("#drop-confirm")
	dropped.says(dropped.err, "dropped")
	other.signal(syscall.SIGKILL)
	other.wait()
	c.shows("#instances", "No answer: did not answer")
	c.shows("#connections-count", "1 without an answer")
	c.click("#tab-rates")
	c.shows("#rates-table", "no answer")
	c.publish("1", "2", "3")
	c.becomes("the rate is drawn", `[...document.querySelectorAll("#rates .legend b")].some(b => Number(b.textContent) > 0)`)
}

// The server stops, and is killed, and comes again; the token ends; and each event is
// shown once.
func TestConsole_AcrossRestarts(t *testing.T) {
	t.Parallel()
	c := openConsole(t, "ERR_CONNECTION_REFUSED", "ERR_CONNECTION_RESET", "ERR_INCOMPLETE_CHUNKED_ENCODING")
	c.signIn(c.token("--user", "root", "--role", "admin"))
	c.publish("0")
	all := []string{"0"}
	more := func(key string) {
		c.publish(key)
		all = append([]string{key}, all...)
	}
	for i, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		c.lists(all...)
		c.server.signal(s)
		more(fmt.Sprint("stopping ", i))
		c.server.wait()
		c.shows("#status", "Reconnecting in")
		c.shot("reconnecting")
		more(fmt.Sprint("stopped ", i))
		c.serve(t)
		more(fmt.Sprint("again ", i))
		c.tryNow()
		c.shows("#status", "Live")
	}
	c.lists(all...)
	c.server.signal(syscall.SIGTERM)
	c.server.wait()
	c.exec(`DELETE FROM notifier.events`) // the log becomes another one
	c.serve(t)
	c.tryNow()
	c.shows("#notices", "Gap")
	c.shows("#list .mark", "Gap")
	c.publish("behind the gap")
	c.lists(append([]string{"behind the gap"}, all...)...)
	c.shot("gap")
}

// When a token ends, that is said, and who signs in again goes on where it was.
func TestConsole_TokenEnds(t *testing.T) {
	t.Parallel()
	c := openConsole(t, "401 (Unauthorized)")
	c.password("the first password", "add", "root", "--role", "admin")
	c.signInAs("root", "the first password")
	c.publish("in time")
	c.lists("in time")
	c.password("the second password", "passwd", "root")
	c.shows("#sign-in-problem", "not valid any more")
	c.publish("while nobody was signed in")
	c.signInAs("root", "the second password")
	c.lists("while nobody was signed in", "in time")
	c.click("#sign-out")
	c.click("[name=way][value=token] + span")
	c.signIn(c.login("root", "the second password"))
	c.password("the third password", "passwd", "root")
	c.shows("#sign-in-problem", "expired")
	c.shot("expired")
}

// All can be done without a mouse.
func TestConsole_Keyboard(t *testing.T) {
	t.Parallel()
	c := openConsole(t)
	focused := func(what, selector string) {
		t.Helper()
		c.becomes("the focus is on "+what, fmt.Sprintf("document.activeElement?.matches(%q)", selector))
		if value[bool](c.window, `getComputedStyle(document.activeElement).outlineStyle === "none" && !document.activeElement.matches("h2") &&
			getComputedStyle(document.querySelector("#scroller")).boxShadow === "none"`) {
			t.Errorf("it is not to be seen that the focus is on %s: %s", what, value[string](c.window, "document.activeElement.outerHTML.slice(0, 100)"))
		}
	}
	tabTo := func(what, selector string, how ...chromedp.KeyOption) {
		t.Helper()
		for range 30 {
			c.do(chromedp.KeyEvent(kb.Tab, how...))
			focused("something", "*")
			if value[bool](c.window, fmt.Sprintf("document.activeElement.matches(%q)", selector)) {
				return
			}
		}
		t.Fatalf("there is no way to %s", what)
	}
	focused("the token", "#token")
	c.do(chromedp.KeyEvent(c.token("--user", "root", "--role", "admin")))
	c.press("\r")
	c.shows("#status", "Live")
	focused("the list", "#list")
	c.publish("1", "2", "3")
	c.lists("3", "2", "1")
	c.press(kb.ArrowDown, kb.ArrowDown)
	c.shows("#inspected-title", "t · a · 2")
	c.press(kb.End)
	c.shows("#inspected-title", "t · a · 1")
	c.press(kb.Home)
	c.shows("#inspected-title", "t · a · 3")
	c.looks(360, 740, "light")
	c.press(kb.Enter)
	focused("the event", "#inspected-title")
	c.press(kb.Escape)
	focused("the list again", "#list")
	c.looks(1280, 800, "light")
	tabTo("the tabs", "#tab-events", chromedp.KeyModifiers(chromedp.ModifierShift))
	c.press(kb.ArrowRight)
	focused("the next tab", "#tab-connections")
	c.shows("#instances", "root")
	tabTo("a button", "#instances button")
	c.press(kb.Enter)
	focused("the harmless choice", "#drop-cancel")
	c.press(kb.Enter)
	focused("the button again", "#instances button")
}

// What is copied is the value as it was written, also over plain HTTP, where a page
// has no clipboard of its own.
func TestConsole_Copy(t *testing.T) {
	t.Parallel()
	c := openConsole(t)
	c.signIn(c.token("--user", "root", "--role", "admin"))
	c.exec(`INSERT INTO notifier.events (type, key, payload, original) VALUES ('t', '1', '{"n":  1.10}', '{"n":  2.20}')`)
	c.lists("1")
	c.click("#list li")
	copies := func(view, want string) {
		t.Helper()
		c.click(`[data-view="` + view + `"]`)
		c.click("#copy")
		c.shows("#copy", "Copied")
		c.becomes("the button has the focus", `document.activeElement.id === "copy"`)
		value[any](c.window, `{ const f = document.querySelector("#filter"); f.value = ""; f.focus(); null }`)
		if _, err := chromedp.Call(c.ctx, input.DispatchKeyEvent, input.DispatchKeyEventParams{Type: "keyDown", Commands: []string{"paste"}}); err != nil {
			t.Fatal(err)
		}
		c.becomes("what was copied is pasted", fmt.Sprintf(`document.querySelector("#filter").value === %q`, want))
		value[any](c.window, `{ const f = document.querySelector("#filter"); f.value = ""; f.dispatchEvent(new Event("input")); null }`)
		c.becomes("the button can be used again", `document.querySelector("#copy").textContent === "Copy"`)
	}
	copies("payload", `{"n":  1.10}`)
	copies("original", `{"n":  2.20}`)
	value[any](c.window, `Object.defineProperty(navigator, "clipboard", { value: undefined }), null`)
	copies("payload", `{"n":  1.10}`)
}
