package embedded

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	library "github.com/fergusstrange/embedded-postgres"
)

// Download says whether and whence binaries are fetched when the machine has none.
type Download struct {
	// Allowed permits downloading.
	Allowed bool
	// Repository is the base URL of a Maven repository; "" means Maven Central.
	Repository string
	// CacheDir keeps what was fetched; "" means a folder of this user's cache
	// (of the system's, for root: nobody else may look into root's).
	CacheDir string
	// Version of PostgreSQL in the repository's numbering, e.g. "18.3.0"; "" means a recent one.
	Version string
}

func (d Download) filled() Download {
	orDefault(&d.Repository, "https://repo1.maven.org/maven2")
	orDefault(&d.Version, string(library.V18))
	orDefault(&d.CacheDir, defaultCacheDir())
	return d
}

func defaultCacheDir() string {
	if os.Geteuid() == 0 {
		return "/var/cache/notifier/postgres"
	}
	base, err := os.UserCacheDir()
	if err != nil {
		base = os.TempDir()
	}
	return filepath.Join(base, "notifier", "postgres")
}

// download returns binaries from the cache, fetching them first if they are not there. One
// process fetches, the others wait for it.
func download(ctx context.Context, c Config, f finder) (Binaries, error) {
	d := c.Download
	dir := filepath.Join(d.CacheDir, d.Version)
	if err := os.MkdirAll(d.CacheDir, 0o755); err != nil {
		return Binaries{}, fmt.Errorf("make download folder: %w", err)
	}
	lock, err := waitForLock(ctx, d.CacheDir)
	if err != nil {
		return Binaries{}, err
	}
	defer lock.release()
	if !holds(filepath.Join(dir, "bin"), "initdb", "postgres") {
		if err := fetchInto(ctx, c, dir); err != nil {
			return Binaries{}, fmt.Errorf("download PostgreSQL %s from %s: %w", d.Version, d.Repository, err)
		}
	}
	b, err := f.probe(ctx, filepath.Join(dir, "bin"))
	if err != nil {
		return Binaries{}, fmt.Errorf("use downloaded PostgreSQL (delete %q to fetch it again): %w", dir, err)
	}
	return b, nil
}

// waitForLock takes the cache's lock; whoever has it is downloading, which takes a while.
func waitForLock(ctx context.Context, dir string) (lock *dirLock, err error) {
	err = poll(ctx, 200*time.Millisecond, func() (bool, error) {
		l, err := lockDir(dir)
		if errors.Is(err, ErrInUse) {
			return false, nil
		}
		lock = l
		return err == nil, err
	})
	return lock, err
}

// fetchInto unpacks beside the place and renames, so that what is in place is whole.
func fetchInto(ctx context.Context, c Config, dir string) error {
	work, err := os.MkdirTemp(c.Download.CacheDir, "fetch-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	unpacked := filepath.Join(work, "postgres")
	if err := fetch(ctx, c, work, unpacked); err != nil {
		return err
	}
	if err := openToAll(unpacked); err != nil {
		return err
	}
	if err := os.RemoveAll(dir); err != nil { // not a whole one, or we would not be here
		return err
	}
	if err := os.Rename(unpacked, dir); err != nil {
		return err
	}
	fmt.Fprintf(c.Progress, "PostgreSQL %s is in %s\n", c.Download.Version, dir)
	return nil
}

// fetch has the library download and unpack, and nothing else. All it offers is Start, which
// goes on to make (after deleting!) a data folder and to start a server; so its data folder
// is given as one that os.RemoveAll refuses to delete, "…/.", and it stops there. It makes its
// runtime folder right after unpacking, which is how we know that it came that far.
func fetch(ctx context.Context, c Config, work, unpacked string) error {
	relay, err := newRelay(ctx, c)
	if err != nil {
		return err
	}
	runtime := filepath.Join(work, "runtime")
	startErr := library.NewDatabase(library.DefaultConfig().
		Version(library.PostgresVersion(c.Download.Version)).
		BinaryRepositoryURL(relay.url()).
		CachePath(filepath.Join(work, "cache")).
		BinariesPath(unpacked).
		RuntimePath(runtime).
		DataPath(work + string(filepath.Separator) + "nodata" + string(filepath.Separator) + ".").
		Port(0). // it insists on binding its port once
		Logger(io.Discard)).Start()
	relayErr := relay.close()
	if _, err := os.Stat(runtime); err == nil {
		return relayErr
	}
	if relayErr != nil {
		return relayErr // the library's would only be a consequence
	}
	return startErr
}

// openToAll lets every user read and run what was unpacked: a server that root starts runs as
// somebody else, whatever our umask was.
func openToAll(root string) error {
	return filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.Type()&fs.ModeSymlink != 0 {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		mode := info.Mode().Perm() | 0o444
		if entry.IsDir() || mode&0o100 != 0 {
			mode |= 0o111
		}
		return os.Chmod(path, mode)
	})
}
