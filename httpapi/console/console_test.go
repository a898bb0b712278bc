package console_test

import (
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"example.com/notifier/httpapi/console"
)

func ask(t *testing.T, h http.Handler, method, path string, headers ...string) (*http.Response, string) {
	t.Helper()
	r := httptest.NewRequest(method, path, nil)
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	body, err := io.ReadAll(w.Result().Body)
	if err != nil {
		t.Fatal(err)
	}
	return w.Result(), string(body)
}

// Each file says what it is and may be asked for again for nothing; the page lets
// nothing in that is not of this server.
func TestPage_Headers(t *testing.T) {
	t.Parallel()
	page, err := console.Page()
	if err != nil {
		t.Fatal(err)
	}
	module, err := console.Module()
	if err != nil {
		t.Fatal(err)
	}
	page[console.ModulePath] = module
	for path, h := range page {
		answer, body := ask(t, h, "GET", path)
		if answer.StatusCode != 200 || body == "" || answer.Header.Get("X-Content-Type-Options") != "nosniff" || answer.Header.Get("Cache-Control") != "no-cache" {
			t.Errorf("%s: %d %v", path, answer.StatusCode, answer.Header)
		}
		if path != console.ModulePath {
			policy := answer.Header.Get("Content-Security-Policy")
			if !strings.HasPrefix(policy, "default-src 'none'; script-src 'self';") || strings.Contains(policy, "unsafe") || strings.Contains(policy, "*") ||
				!strings.Contains(policy, "frame-ancestors 'none'") || answer.Header.Get("Referrer-Policy") != "no-referrer" ||
				answer.Header.Get("Cross-Origin-Opener-Policy") != "same-origin" {
				t.Errorf("%s: %v", path, answer.Header)
			}
		}
		again, body := ask(t, h, "GET", path, "If-None-Match: "+answer.Header.Get("ETag"))
		if again.StatusCode != 304 || body != "" {
			t.Errorf("%s, again: %d", path, again.StatusCode)
		}
		head, body := ask(t, h, "HEAD", path)
		if head.StatusCode != 200 || body != "" || head.Header.Get("Content-Type") != answer.Header.Get("Content-Type") {
			t.Errorf("%s, HEAD: %d %q", path, head.StatusCode, body)
		}
		if post, _ := ask(t, h, "POST", path); post.StatusCode != 405 || post.Header.Get("Allow") != "GET, HEAD" {
			t.Errorf("%s, POST: %d", path, post.StatusCode)
		}
	}
	if answer, _ := ask(t, module, "GET", console.ModulePath); answer.Header.Get("Content-Type") != "text/javascript; charset=utf-8" {
		t.Errorf("the module is %s", answer.Header.Get("Content-Type"))
	}
}

// What the files ask for is there; and there is nothing in them that the policy
// would have to allow, nor anything of other hosts.
func TestPage_StandsByItself(t *testing.T) {
	t.Parallel()
	page, err := console.Page()
	if err != nil {
		t.Fatal(err)
	}
	asked := map[string]bool{"/": true}
	for path, h := range page {
		_, body := ask(t, h, "GET", path)
		for _, found := range regexp.MustCompile(`(?:src|href)="([^"]+)"|from "(\./[^"]+)"`).FindAllStringSubmatch(body, -1) {
			asked["/"+strings.TrimPrefix(strings.Replace(found[1]+found[2], "./", "console/", 1), "/")] = true
		}
		if bad := regexp.MustCompile(`<style|<script>|\sstyle="|\son[a-z]+="|javascript:|https?://[^w]|\beval\(|innerHTML|insertAdjacentHTML|document\.write`).FindString(body); bad != "" {
			t.Errorf("%s holds %q", path, bad)
		}
	}
	if got, want := slices.Sorted(maps.Keys(asked)), slices.Sorted(maps.Keys(page)); !slices.Equal(got, want) {
		t.Errorf("asked for is %q, there is %q", got, want)
	}
}
