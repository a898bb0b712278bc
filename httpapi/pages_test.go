package httpapi_test

import (
	"strings"
	"testing"

	"example.com/notifier/httpapi"
)

// With tokens, pages of any origin may have the module, and none the console. In
// anonymous mode neither answers foreign pages.
func TestPages_Origins(t *testing.T) {
	t.Parallel()
	const foreign = "Origin: https://elsewhere.example"
	closed, open := sseSystem(t, newDirectory()), setup(t)
	for _, c := range []struct {
		s       *system
		path    string
		headers []string
		status  int
		allowed string
	}{
		{closed, "/notifier.js", []string{foreign}, 200, "*"},
		{closed, "/", []string{foreign}, 200, ""},
		{closed, "/console/console.js", []string{foreign}, 200, ""},
		{open, "/notifier.js", nil, 200, ""},
		{open, "/notifier.js", []string{foreign}, 403, ""},
		{open, "/", nil, 200, ""},
		{open, "/", []string{foreign}, 403, ""},
		{open, "/", []string{"Host: rebound.example"}, 403, ""},
		{open, "/console/console.js", []string{"Host: rebound.example"}, 403, ""},
		{open, "/console/", nil, 404, ""},
		{open, "/console/index.html", nil, 404, ""},
		{open, "/console/../config.go", nil, 404, ""},
	} {
		status, header, text := c.s.request("GET", c.path, "", c.headers...)
		if status != c.status || header.Get("Access-Control-Allow-Origin") != c.allowed {
			t.Errorf("%s %q: %d %q %v", c.path, c.headers, status, text, header)
		}
	}
}

// Without the console, its places are empty; sysadm's clients and the module remain.
func TestPages_NoConsole(t *testing.T) {
	t.Parallel()
	s := setup(t, func(c *httpapi.Config) { c.NoConsole = true })
	for path, want := range map[string]int{"/": 404, "/console/console.js": 404, "/notifier.js": 200} {
		if status, _, _ := s.request("GET", path, ""); status != want {
			t.Errorf("%s: %d, want %d", path, status, want)
		}
	}
	s.dial("/")
	with := setup(t)
	with.dial("/")
	if status, header, text := with.request("GET", "/", ""); status != 200 || !strings.HasPrefix(text, "<!doctype html>") || header.Get("Content-Security-Policy") == "" {
		t.Errorf("the page: %d %v", status, header)
	}
}
