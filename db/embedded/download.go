package embedded

import (
	"context"
	"errors"
	"os"
	"path/filepath"

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

func download(context.Context, Config, finder) (Binaries, error) {
	return Binaries{}, errors.New("download PostgreSQL: not built yet")
}
