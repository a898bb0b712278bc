package embedded

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// ErrInUse is wrapped by every refusal to touch a cluster that somebody else runs.
var ErrInUse = errors.New("cluster is in use")

// errLocked is what tryLock returns when another holder has the file.
var errLocked = errors.New("locked")

// dirLock is the claim of one process on a cluster folder. The system drops it when the
// process ends, however it ends; the server does not inherit it.
type dirLock struct{ file *os.File }

// lockDir claims a folder or says who has it.
func lockDir(dir string) (*dirLock, error) {
	path := filepath.Join(dir, "notifier.lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open cluster lock: %w", err)
	}
	if err := insist(func() error { return tryLock(f) }); err != nil {
		holder, _ := io.ReadAll(io.LimitReader(f, 32))
		f.Close()
		if errors.Is(err, errLocked) {
			return nil, fmt.Errorf("use cluster folder %q: process %s has it: %w", dir, orUnknown(string(holder)), ErrInUse)
		}
		return nil, fmt.Errorf("lock %q: %w", path, err)
	}
	l := &dirLock{file: f}
	return l, l.sign()
}

// lockPatience is how long a lock may outlive its holder: a server that the holder
// was starting when it was killed shares it up to its exec.
const lockPatience = time.Second

// insist tries again for a moment while the lock is taken.
func insist(try func() error) error {
	err := try()
	for begun := time.Now(); errors.Is(err, errLocked) && time.Since(begun) < lockPatience; err = try() {
		pause(context.Background())
	}
	return err
}

// sign leaves our process id for the message another process gives.
func (l *dirLock) sign() error {
	if err := l.file.Truncate(0); err != nil {
		return fmt.Errorf("sign cluster lock: %w", err)
	}
	_, err := l.file.WriteAt(fmt.Appendf(nil, "%d\n", os.Getpid()), 0)
	return err
}

// release lets the next process in; the file stays, since removing it would let two in.
func (l *dirLock) release() {
	unlock(l.file)
	l.file.Close()
}

func orUnknown(s string) string {
	if s = strings.TrimSpace(s); s == "" {
		return "(unknown)"
	}
	return s
}
