//go:build !windows

package embedded

import (
	"syscall"
	"testing"
)

// A process that is being started shares our open files from its fork to its
// exec. A lock that was released must not stay with it.
func TestLock_ReleasedAlsoForWhoSharesTheFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l, err := lockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	shared, err := syscall.Dup(int(l.file.Fd())) // what a fork does
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(shared)
	l.release()
	again, err := lockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	again.release()
}
