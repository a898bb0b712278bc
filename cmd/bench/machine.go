//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// printMachine says where the figures come from.
func (b *bench) printMachine(ctx context.Context) error {
	durable, err := b.cluster.durability(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(b.out, "notifier bench, %s\n", time.Now().UTC().Format("2006-01-02 15:04 UTC"))
	fmt.Fprintf(b.out, "%s, %d cores, %s\n", cpuModel(), runtime.NumCPU(), kernel())
	fmt.Fprintf(b.out, "%s, PostgreSQL %s (%s)\n", runtime.Version(), b.cluster.Binaries().Version, durable)
	return nil
}

func cpuModel() string {
	text, _ := os.ReadFile("/proc/cpuinfo") // only for the heading
	for line := range strings.Lines(string(text)) {
		if name, value, _ := strings.Cut(line, ":"); strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

func kernel() string {
	var name unix.Utsname
	if unix.Uname(&name) != nil {
		return runtime.GOOS
	}
	return "Linux " + unix.ByteSliceToString(name.Release[:])
}

// makeDir makes the folder for everything that is written. In memory, commits
// would cost nothing, and their figures mean nothing.
func makeDir(parent string) (string, error) {
	candidates := []string{parent}
	if parent == "" {
		candidates = []string{os.TempDir(), "/var/tmp"}
	}
	for _, candidate := range candidates {
		if inMemory(candidate) {
			continue
		}
		dir, err := os.MkdirTemp(candidate, "notifier-bench-")
		if err != nil {
			return "", fmt.Errorf("make folder: %w", err)
		}
		return dir, os.Chmod(dir, 0o755) // as root, the cluster runs as another user
	}
	return "", fmt.Errorf("make folder: %s is in memory: name a folder on a disk by -dir", strings.Join(candidates, " and "))
}

func inMemory(dir string) bool {
	var fs unix.Statfs_t
	return unix.Statfs(dir, &fs) == nil && (fs.Type == unix.TMPFS_MAGIC || fs.Type == unix.RAMFS_MAGIC)
}
