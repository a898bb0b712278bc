//go:build !windows

package embedded

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fakeBin makes a folder of programs that print versions. A version of "" prints rubbish.
func fakeBin(t *testing.T, dir string, versions map[string]string) string {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, version := range versions {
		script := "#!/bin/sh\necho '" + name + " (PostgreSQL) " + version + "'\n"
		if version == "" {
			script = "#!/bin/sh\necho 'no such command' >&2\nexit 127\n"
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// server is what a folder of PostgreSQL of one version holds.
func server(version string) map[string]string {
	return map[string]string{"initdb": version, "postgres": version + " (Debian 1)"}
}

func TestFinder_Order(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	onPath := fakeBin(t, filepath.Join(root, "onpath"), server("16.2"))
	configured := fakeBin(t, filepath.Join(root, "configured"), server("14.1"))
	config := filepath.Join(root, "config")
	if err := os.MkdirAll(config, 0o755); err != nil {
		t.Fatal(err)
	}
	script := "#!/bin/sh\necho '" + configured + "'\n"
	if err := os.WriteFile(filepath.Join(config, "pg_config"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, v := range []string{"9", "13", "15"} {
		fakeBin(t, filepath.Join(root, "usr", v, "bin"), server(v+".3"))
	}
	newest := fakeBin(t, filepath.Join(root, "brew", "postgresql@18", "bin"), server("18beta1"))
	usual := []string{filepath.Join(root, "usr", "*", "bin"), filepath.Join(root, "brew", "postgresql*", "bin")}

	for _, test := range []struct {
		name   string
		finder finder
		major  int
		want   string
	}{
		{"the path first", finder{path: onPath + ":" + config, usual: usual}, 0, onPath},
		{"then pg_config", finder{path: config, usual: usual}, 0, configured},
		{"then the newest of the usual places", finder{usual: usual}, 0, newest},
		{"the wanted major version, wherever", finder{path: onPath, usual: usual}, 13, filepath.Join(root, "usr", "13", "bin")},
	} {
		if b, err := test.finder.find(t.Context(), test.major); err != nil || b.Dir != test.want {
			t.Errorf("%s: got %q (%v), want %q", test.name, b.Dir, err, test.want)
		}
	}
}

func TestFinder_SkipsWhatDoesNotRun(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	broken := fakeBin(t, filepath.Join(root, "broken"), map[string]string{"initdb": "16.2", "postgres": ""})
	half := fakeBin(t, filepath.Join(root, "half"), map[string]string{"postgres": "16.2"})
	mixed := fakeBin(t, filepath.Join(root, "mixed"), map[string]string{"initdb": "15.2", "postgres": "16.2"})
	old := fakeBin(t, filepath.Join(root, "old"), server("12.9"))
	path := strings.Join([]string{"", ".", "/no/such/folder", broken, half, mixed, old}, ":")
	_, err := finder{path: path}.find(t.Context(), 0)
	if !errors.Is(err, ErrNoBinaries) {
		t.Fatalf("got %v", err)
	}
	for _, want := range []string{broken, "initdb is version 15.2 and postgres 16.2", "12.9 is too old"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error does not say %q:\n%v", want, err)
		}
	}
	good := fakeBin(t, filepath.Join(root, "good"), server("16.2"))
	if b, err := (finder{path: path + ":" + good}).find(t.Context(), 0); err != nil || b.Dir != good || b.Version != "16.2" || b.Major != 16 {
		t.Errorf("behind the bad ones: %+v, %v", b, err)
	}
}

// A folder of links to some programs stands for the folder that has them all.
func TestFinder_FollowsLinks(t *testing.T) {
	t.Parallel()
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	realDir := fakeBin(t, filepath.Join(root, "real"), server("16.2"))
	links := filepath.Join(root, "links")
	if err := os.Mkdir(links, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"initdb", "postgres"} {
		if err := os.Symlink(filepath.Join(realDir, name), filepath.Join(links, name)); err != nil {
			t.Fatal(err)
		}
	}
	if b, err := (finder{path: links}).find(t.Context(), 0); err != nil || b.Dir != realDir {
		t.Errorf("got %q (%v), want %q", b.Dir, err, realDir)
	}
}

func TestFinder_StopsWithItsContext(t *testing.T) {
	t.Parallel()
	dir := fakeBin(t, t.TempDir(), server("16.2"))
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	cancel(enough)
	if _, err := (finder{path: dir}).find(ctx, 0); !errors.Is(err, enough) {
		t.Errorf("got %v", err)
	}
}

func TestChooseBinaries(t *testing.T) {
	t.Parallel()
	sixteen := fakeBin(t, filepath.Join(t.TempDir(), "16"), server("16.2"))
	broken := fakeBin(t, filepath.Join(t.TempDir(), "broken"), map[string]string{"initdb": "", "postgres": ""})
	machine := finder{path: sixteen}
	named := func(dir string) Config { return Config{Dir: "/cluster", BinDir: dir} }

	if b, err := chooseBinaries(t.Context(), named(""), machine, 16); err != nil || b.Major != 16 {
		t.Errorf("found on the machine: %+v, %v", b, err)
	}
	if _, err := chooseBinaries(t.Context(), named(broken), machine, 0); err == nil || !strings.Contains(err.Error(), "named") {
		t.Errorf("named ones that do not run were replaced by others: %v", err)
	}
	for _, config := range []Config{named(""), named(sixteen)} {
		_, err := chooseBinaries(t.Context(), config, machine, 17)
		if mismatch, ok := errors.AsType[*VersionError](err); !ok || mismatch.Data != 17 || mismatch.Found != 16 {
			t.Errorf("data of 17, binaries of 16: %v", err)
		}
	}
	_, err := chooseBinaries(t.Context(), named(""), finder{}, 17)
	if mismatch, ok := errors.AsType[*VersionError](err); !ok || mismatch.Found != 0 {
		t.Errorf("data of 17, no binaries: %v", err)
	}
	if _, err := chooseBinaries(t.Context(), named(""), finder{}, 0); !errors.Is(err, ErrNoBinaries) {
		t.Errorf("no binaries: %v", err)
	}
}

func TestMajorOf(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]int{"18.3": 18, "18beta1": 18, "19devel": 19, "9.6.24": 9, "": 0, "x": 0} {
		if got := majorOf(version); got != want {
			t.Errorf("majorOf(%q) = %d, want %d", version, got, want)
		}
	}
}
