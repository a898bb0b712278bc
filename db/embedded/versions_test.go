//go:build !windows

package embedded

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestFinder_Majors(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for _, v := range []string{"13", "16", "19", "20devel"} {
		fakeBin(t, filepath.Join(root, v, "bin"), server(v))
	}
	f := finder{usual: []string{filepath.Join(root, "*", "bin")}}
	if got, want := f.majors(t.Context()), []int{14, 15, 16, 17, 18, 19, 20}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// A version is taken from where it is named, and nowhere else; else from the machine, else from
// the repository, in that version's number there.
func TestObtain(t *testing.T) {
	t.Parallel()
	r := fakeRepository(t)
	c, _ := downloadConfig(t, r)
	sixteen := fakeBin(t, filepath.Join(t.TempDir(), "16"), server("16.2"))
	machine := finder{path: sixteen}

	if b, err := obtain(t.Context(), c, machine, 16); err != nil || b.Dir != sixteen || r.asked.Load() != 0 {
		t.Errorf("on the machine: %+v, %v after %d requests", b, err, r.asked.Load())
	}
	want := filepath.Join(c.Download.CacheDir, string(supported[18]), "bin")
	if b, err := obtain(t.Context(), c, machine, 18); err != nil || b.Dir != want || r.asked.Load() != 2 {
		t.Errorf("downloaded: %+v, %v after %d requests", b, err, r.asked.Load())
	}
	if _, err := obtain(t.Context(), c, machine, 99); !errors.Is(err, ErrNoBinaries) || r.asked.Load() != 2 {
		t.Errorf("a version that nobody has: %v after %d requests", err, r.asked.Load())
	}
	named := c
	named.BinDir = sixteen
	if b, err := obtain(t.Context(), named, finder{}, 16); err != nil || b.Dir != sixteen {
		t.Errorf("named: %+v, %v", b, err)
	}
	if _, err := obtain(t.Context(), named, finder{}, 18); err == nil || !strings.Contains(err.Error(), "16.2") {
		t.Errorf("another version than was named: %v", err)
	}
	c.Download.Allowed = false
	if _, err := obtain(t.Context(), c, finder{}, 17); !errors.Is(err, ErrNoBinaries) || r.asked.Load() != 2 {
		t.Errorf("not allowed: %v after %d requests", err, r.asked.Load())
	}
}
