package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/notifier/db/dbtest"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// screenshots names a folder in the environment for pictures of what the tests
// show, for people to look at.
const screenshots = "NOTIFIER_TEST_SCREENSHOTS"

// chromium is the browser of all tests; TestMain ends it.
var chromium sharedChromium

// sharedChromium is one process, since to start one takes seconds of a processor.
type sharedChromium struct {
	once sync.Once
	ctx  context.Context
	end  func()
	err  error
}

// start starts it for the first who asks.
func (c *sharedChromium) start(path string) (context.Context, error) {
	c.once.Do(func() {
		options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]), chromedp.ExecPath(path), chromedp.NoSandbox,
			chromedp.WSURLReadTimeout(time.Minute))
		allocator, end := chromedp.NewExecAllocator(context.Background(), options...)
		ctx, closeBrowser := chromedp.NewContext(allocator)
		c.ctx, c.end = ctx, func() { closeBrowser(); end() }
		_, c.err = chromedp.Run(ctx, chromedp.Navigate("about:blank"))
	})
	return c.ctx, c.err
}

// stop ends it, if it was started, and waits for that.
func (c *sharedChromium) stop() {
	if c.end != nil {
		c.end()
	}
}

// browser opens a page in Chromium, in a profile of its own.
func browser(t *testing.T, page string) context.Context {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		t.Skip("no Chromium")
	}
	running, err := chromium.start(path)
	if err != nil {
		t.Fatalf("start %s: %v", path, err)
	}
	ctx, closePage := chromedp.NewContext(running, chromedp.WithNewBrowserContext())
	t.Cleanup(closePage)
	if _, err := chromedp.Run(ctx, chromedp.Navigate(page)); err != nil {
		t.Fatalf("open %s: %v", page, err)
	}
	return ctx
}

// window is a page that is used as a person does, and must have nothing to complain
// of: no error, and nothing that its policy forbids.
type window struct {
	t   *testing.T
	ctx context.Context

	mu       sync.Mutex
	problems []string
	expected []string // parts of those that are to be
}

// openWindow opens a page; expected are parts of the complaints that are to be.
func openWindow(t *testing.T, url string, expected ...string) *window {
	t.Helper()
	w := &window{t: t, expected: expected, ctx: browser(t, "about:blank")}
	if err := chromedp.Listen(w.ctx, w.hear); err != nil {
		t.Fatal(err)
	}
	if _, err := chromedp.Call(w.ctx, emulation.SetFocusEmulationEnabled, emulation.SetFocusEmulationEnabledParams{Enabled: true}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if len(w.problems) > 0 {
			t.Errorf("the browser complains:\n%s", strings.Join(w.problems, "\n"))
		}
	})
	w.do(chromedp.Navigate(url))
	return w
}

func (w *window) hear(event any) {
	var problem string
	switch e := event.(type) {
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError || e.Entry.Level == log.EntryLevelWarning {
			problem = e.Entry.Text + " " + e.Entry.URL
		}
	case *runtime.EventExceptionThrown:
		problem = fmt.Sprint("exception: ", e.ExceptionDetails.Text, " ", e.ExceptionDetails.URL, ":", e.ExceptionDetails.LineNumber)
		if e.ExceptionDetails.Exception != nil {
			problem += " " + e.ExceptionDetails.Exception.Description
		}
	case *runtime.EventConsoleAPICalled:
		problem = fmt.Sprint("console.", e.Type, " ", e.Args)
	}
	if problem == "" || slices.ContainsFunc(w.expected, func(part string) bool { return strings.Contains(problem, part) }) {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.problems = append(w.problems, problem)
}

// do has the browser do something, which must take less than a minute.
func (w *window) do(action chromedp.Action[chromedp.Void]) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, time.Minute)
	defer cancel()
	if _, err := chromedp.Run(ctx, action); err != nil {
		w.t.Fatalf("use the page: %v\n%s", err, w.complaints())
	}
}

func (w *window) complaints() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(w.problems, "\n")
}

// value asks the page.
func value[T any](w *window, script string) T {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, time.Minute)
	defer cancel()
	found, err := chromedp.Run(ctx, chromedp.Evaluate[T](script, chromedp.EvalAwaitPromise))
	if err != nil {
		w.t.Fatalf("ask the page %s: %v\n%s", script, err, w.complaints())
	}
	return found
}

// becomes waits until a script says so.
func (w *window) becomes(what, script string) {
	w.t.Helper()
	defer w.shotOnFailure()
	dbtest.Eventually(w.t, what, func() bool { return value[bool](w, "Boolean("+script+")") })
}

// shows waits until a text is to be seen in an element.
func (w *window) shows(selector, text string) {
	w.t.Helper()
	w.becomes(fmt.Sprintf("%s shows %q", selector, text), fmt.Sprintf("document.querySelector(%q)?.innerText.includes(%q)", selector, text))
}

func (w *window) click(selector string) {
	w.t.Helper()
	w.do(chromedp.Click(chromedp.CSS(selector)))
}

// types fills an input, in place of what it holds.
func (w *window) types(selector, text string) {
	w.t.Helper()
	value[any](w, fmt.Sprintf("{ const field = document.querySelector(%q); field.focus(); field.select(); null }", selector))
	w.do(chromedp.KeyEvent(text))
}

func (w *window) press(keys ...string) {
	w.t.Helper()
	for _, key := range keys {
		w.do(chromedp.KeyEvent(key))
	}
}

// looks sets the size of the window and whether it is dark.
func (w *window) looks(width, height int64, scheme string) {
	w.t.Helper()
	w.do(chromedp.EmulateViewport(width, height))
	if _, err := chromedp.Call(w.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"},
	}}); err != nil {
		w.t.Fatal(err)
	}
}

// shot takes a picture, if somebody wants to look.
func (w *window) shot(name string) {
	w.t.Helper()
	folder := os.Getenv(screenshots)
	if folder == "" {
		return
	}
	picture, err := chromedp.Run(w.ctx, chromedp.CaptureScreenshot())
	if err == nil {
		err = os.WriteFile(filepath.Join(folder, name+".png"), picture, 0o600)
	}
	if err != nil {
		w.t.Error(err)
	}
}

func (w *window) shotOnFailure() {
	w.t.Helper()
	if w.t.Failed() {
		w.shot("failure-" + w.t.Name())
	}
}
