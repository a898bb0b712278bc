//go:build !windows

package embedded

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
)

// repository serves one archive under any version, as Maven Central would.
type repository struct {
	jar      []byte
	checksum string
	asked    atomic.Int32
	broken   func(w http.ResponseWriter, path string) bool // answers instead, if it says so
}

func (r *repository) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.asked.Add(1)
	switch path := req.URL.Path; {
	case r.broken != nil && r.broken(w, path):
	case !strings.HasPrefix(path, "/maven2/io/zonky/test/postgres/embedded-postgres-binaries-"):
		http.NotFound(w, req)
	case strings.HasSuffix(path, ".jar"):
		_, _ = w.Write(r.jar)
	case strings.HasSuffix(path, ".jar.sha256"):
		_, _ = w.Write([]byte(r.checksum))
	default:
		http.NotFound(w, req)
	}
}

// newRepository packs folders below root the way the library expects: a .txz in a .jar.
func newRepository(t *testing.T, root string, names ...string) *repository {
	t.Helper()
	for _, tool := range []string{"tar", "xz"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip("no " + tool + " to make an archive with")
		}
	}
	txz := filepath.Join(t.TempDir(), "postgres.txz")
	// Unpacking is slow under the race detector, so what no start needs stays out.
	tar := exec.Command("tar", append([]string{"--use-compress-program=xz -0",
		"--exclude=bitcode", "--exclude=llvmjit*", "--exclude=utf8_and_*", "--exclude=pgxs", "-cf", txz, "-C", root}, names...)...)
	if out, err := tar.CombinedOutput(); err != nil {
		t.Fatalf("tar: %v: %s", err, out)
	}
	archive, err := os.ReadFile(txz)
	if err != nil {
		t.Fatal(err)
	}
	var jar bytes.Buffer
	z := zip.NewWriter(&jar)
	entry, err := z.Create("postgres-test.txz")
	if err == nil {
		_, err = entry.Write(archive)
	}
	if err := errors.Join(err, z.Close()); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(jar.Bytes())
	return &repository{jar: jar.Bytes(), checksum: hex.EncodeToString(sum[:]) + "\n"}
}

// fakeRepository has programs that only print their version.
func fakeRepository(t *testing.T) *repository {
	t.Helper()
	root := t.TempDir()
	fakeBin(t, filepath.Join(root, "bin"), map[string]string{"initdb": "18.3", "postgres": "18.3", "pg_ctl": "18.3"})
	return newRepository(t, root, "bin")
}

// downloadConfig is a cluster whose binaries come from a repository.
func downloadConfig(t *testing.T, r *repository) (Config, *bytes.Buffer) {
	t.Helper()
	server := httptest.NewServer(r)
	t.Cleanup(server.Close)
	dir, err := os.MkdirTemp("", "embedded-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil { // another user will run what is in it
		t.Fatal(err)
	}
	var progress bytes.Buffer
	c, err := Config{Dir: filepath.Join(dir, "cluster"), Progress: &progress, Download: Download{
		Allowed: true, Repository: server.URL + "/maven2/", CacheDir: filepath.Join(dir, "cache"), Version: "18.3.0",
	}}.filled()
	if err != nil {
		t.Fatal(err)
	}
	return c, &progress
}

func TestDownload_OnceAndWithProgress(t *testing.T) {
	t.Parallel()
	r := fakeRepository(t)
	c, progress := downloadConfig(t, r)
	for range 2 {
		b, err := chooseBinaries(t.Context(), c, finder{}, 0)
		if err != nil || b.Major != 18 || b.Dir != filepath.Join(c.Download.CacheDir, "18.3.0", "bin") {
			t.Fatalf("got %+v, %v", b, err)
		}
	}
	if got := r.asked.Load(); got != 2 {
		t.Errorf("%d requests, want 2: the archive and its checksum, once", got)
	}
	if !strings.Contains(progress.String(), "downloading") || !strings.Contains(progress.String(), c.Download.CacheDir) {
		t.Errorf("progress: %q", progress)
	}
	left, _ := filepath.Glob(filepath.Join(c.Download.CacheDir, "fetch-*"))
	if len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestDownload_OnlyForTheDataAtHand(t *testing.T) {
	t.Parallel()
	r := fakeRepository(t)
	c, _ := downloadConfig(t, r)
	_, err := chooseBinaries(t.Context(), c, finder{}, 17)
	if _, ok := errors.AsType[*VersionError](err); !ok || r.asked.Load() != 0 {
		t.Errorf("data of 17: %v after %d requests", err, r.asked.Load())
	}
	c.Download.Allowed = false
	if _, err := chooseBinaries(t.Context(), c, finder{}, 0); !errors.Is(err, ErrNoBinaries) || r.asked.Load() != 0 {
		t.Errorf("not allowed: %v after %d requests", err, r.asked.Load())
	}
}

// Whatever a repository does wrong, nothing of it is kept and the message says what it was.
func TestDownload_BadRepository(t *testing.T) {
	t.Parallel()
	good := fakeRepository(t)
	for _, test := range []struct {
		name, want string
		break_     func(r *repository)
	}{
		{"no archive", "404 Not Found", func(r *repository) {
			r.broken = func(w http.ResponseWriter, _ string) bool { w.WriteHeader(http.StatusNotFound); return true }
		}},
		{"no checksum", "404 Not Found", func(r *repository) {
			r.broken = func(w http.ResponseWriter, path string) bool {
				missing := strings.HasSuffix(path, ".sha256")
				if missing {
					w.WriteHeader(http.StatusNotFound)
				}
				return missing
			}
		}},
		{"another checksum", "checksums do not match", func(r *repository) { r.checksum = strings.Repeat("0", 64) }},
		{"no archive inside", "", func(r *repository) {
			r.jar = []byte("<html>")
			sum := sha256.Sum256(r.jar)
			r.checksum = hex.EncodeToString(sum[:])
		}},
		{"cut off", "", func(r *repository) {
			r.broken = func(w http.ResponseWriter, path string) bool {
				if !strings.HasSuffix(path, ".jar") {
					return false
				}
				w.Header().Set("Content-Length", "1000000")
				_, _ = w.Write(r.jar[:len(r.jar)/2])
				panic(http.ErrAbortHandler)
			}
		}},
	} {
		r := &repository{jar: good.jar, checksum: good.checksum}
		test.break_(r)
		c, _ := downloadConfig(t, r)
		_, err := chooseBinaries(t.Context(), c, finder{}, 0)
		if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), c.Download.Repository) {
			t.Errorf("%s: %v", test.name, err)
		}
		entries, _ := os.ReadDir(c.Download.CacheDir)
		if len(entries) != 1 { // the lock
			t.Errorf("%s: kept %v", test.name, entries)
		}
	}
}

func TestDownload_Cancelled(t *testing.T) {
	t.Parallel()
	r := fakeRepository(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	r.broken = func(w http.ResponseWriter, _ string) bool {
		w.Header().Set("Content-Length", "1000000")
		_, _ = w.Write(r.jar)
		_ = http.NewResponseController(w).Flush()
		cancel(enough)       // and sends no more
		<-t.Context().Done() // which is before the server's Close, in a cleanup
		return true
	}
	c, _ := downloadConfig(t, r)
	if _, err := chooseBinaries(ctx, c, finder{}, 0); !errors.Is(err, enough) {
		t.Errorf("got %v", err)
	}
}

// The whole way with a real server, made of the binaries this machine has.
func TestDownload_RealServerStarts(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	if testing.Short() {
		t.Skip("unpacks a whole server")
	}
	installed, err := Find(ctx)
	if err != nil {
		t.Skip(err)
	}
	root := filepath.Dir(installed.Dir)
	names := []string{"bin/initdb", "bin/postgres", "bin/pg_ctl"}
	for _, name := range []string{"lib", "share"} { // beside bin where an installation can be moved
		if _, err := os.Stat(filepath.Join(root, name)); err == nil {
			names = append(names, name)
		}
	}
	c, _ := downloadConfig(t, newRepository(t, root, names...))
	account, err := accountFor(c.dataDir())
	if err != nil {
		t.Fatal(err)
	}
	b, err := chooseBinaries(ctx, c, finder{account: account}, 0)
	if err != nil {
		t.Fatal(err)
	}
	c.BinDir = b.Dir
	s, err := Start(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	conn, err := pgx.Connect(ctx, s.URL(""))
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close(ctx)
}
