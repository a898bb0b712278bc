// Package console holds what browsers are given: a module by which any page can
// follow events, and a page for people, the console, that is built on it. Both
// know of the server only what every client does.
package console

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"net/http"
	"path"
	"time"
)

//go:embed notifier.js page
var files embed.FS

const (
	// ModulePath is where the module is.
	ModulePath = "/notifier.js"
	// pages is where all is that the console consists of, but for the page
	// itself.
	pages = "/console/"
)

// policy has a browser run and show what comes from here and nothing else, and
// nothing of it in a frame of another page.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// types are those of the files there are.
var types = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
}

// file answers with one of the files. A browser asks each time whether it has
// changed: the page and the server must be of one version.
type file struct {
	name, kind, tag string
	body            []byte
}

// ServeHTTP answers a GET, or a HEAD.
func (f *file) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	h := w.Header()
	h.Set("Content-Type", f.kind)
	h.Set("Cache-Control", "no-cache")
	h.Set("ETag", f.tag)
	h.Set("X-Content-Type-Options", "nosniff")
	http.ServeContent(w, r, f.name, time.Time{}, bytes.NewReader(f.body))
}

func open(name string) (*file, error) {
	body, err := files.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read embedded file: %w", err)
	}
	kind, ok := types[path.Ext(name)]
	if !ok {
		return nil, fmt.Errorf("embedded file %s: of no known type", name)
	}
	sum := sha256.Sum256(body)
	return &file{name: name, kind: kind, tag: `"` + hex.EncodeToString(sum[:8]) + `"`, body: body}, nil
}

// Module returns what answers for the module.
func Module() (http.Handler, error) { return open("notifier.js") }

// Page returns what answers for the console: by the path, "/" being the page
// itself.
func Page() (map[string]http.Handler, error) {
	entries, err := files.ReadDir("page")
	if err != nil {
		return nil, fmt.Errorf("list embedded files: %w", err)
	}
	page := make(map[string]http.Handler, len(entries))
	for _, entry := range entries {
		f, err := open("page/" + entry.Name())
		if err != nil {
			return nil, err
		}
		at := pages + entry.Name()
		if entry.Name() == "index.html" {
			at = "/"
		}
		page[at] = closed(f)
	}
	return page, nil
}

// closed keeps a page from others, and others from it.
func closed(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Referrer-Policy", "no-referrer")
		next.ServeHTTP(w, r)
	})
}
