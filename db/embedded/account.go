package embedded

import (
	"fmt"
	"os"
	"path/filepath"
)

// account is who the server's processes run as. The zero value is this process's own user.
// PostgreSQL refuses to run as root, so root lends the cluster to somebody else.
type account struct {
	name     string
	uid, gid uint32
	switched bool // the processes run as another user than this one
}

// prepareDir makes the home folder and sees to it that the account can pass through it.
func (a account) prepareDir(dir string) error {
	mode := os.FileMode(0o700)
	if a.switched {
		mode = 0o755
	}
	if err := os.MkdirAll(dir, mode); err != nil {
		return fmt.Errorf("make cluster folder: %w", err)
	}
	return a.canReach(dir)
}

// canReach explains which folder on the way to path is closed to the account.
func (a account) canReach(path string) error {
	if !a.switched {
		return nil
	}
	for p := path; ; p = filepath.Dir(p) {
		info, err := os.Stat(p)
		if err != nil {
			return fmt.Errorf("look at cluster folder: %w", err)
		}
		if !a.maySearch(info) {
			return fmt.Errorf("use cluster folder %q: PostgreSQL does not run as root, and user %q may not pass through %q (mode %04o): "+
				"choose another folder or run: chmod a+x %q", path, a.name, p, info.Mode().Perm(), p)
		}
		if filepath.Dir(p) == p {
			return nil
		}
	}
}
