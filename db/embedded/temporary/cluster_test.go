//go:build !windows

package temporary_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"example.com/notifier/db/dbtest"
	"example.com/notifier/db/embedded"
	"example.com/notifier/db/embedded/temporary"
)

// dieEnv makes TestDie, in a process of its own, die with a cluster running.
const dieEnv = "TEMPORARY_DIE"

// howEnv says how, as an exit status words it.
const howEnv = "TEMPORARY_HOW"

const interrupted = "interrupt"

// TestDie is the victim of TestCluster_DoesNotOutliveItsProcess.
func TestDie(t *testing.T) {
	if os.Getenv(dieEnv) == "" {
		t.Skip("only as a process of its own")
	}
	cluster, err := temporary.Start(t.Context(), embedded.Config{Settings: temporary.Settings()})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(os.Getenv(dieEnv), []byte(cluster.Dir()), 0o600); err != nil {
		t.Fatal(err)
	}
	if os.Getenv(howEnv) == interrupted {
		_ = syscall.Kill(0, syscall.SIGINT) // as Ctrl-C: all of the process group
		select {}
	}
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
}

// Even a killed test process leaves neither a server nor a folder.
func TestCluster_DoesNotOutliveItsProcess(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"killed", interrupted} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			outlives(t, how)
		})
	}
}

func outlives(t *testing.T, how string) {
	t.Helper()
	note := filepath.Join(t.TempDir(), "dir")
	cmd := exec.Command(os.Args[0], "-test.run=^TestDie$")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Env = append(os.Environ(), dieEnv+"="+note, howEnv+"="+how)
	out, err := cmd.CombinedOutput()
	if status, ok := errors.AsType[*exec.ExitError](err); !ok || !strings.Contains(status.Error(), how) {
		t.Fatalf("the victim ended with %v:\n%s", err, out)
	}
	dir, err := os.ReadFile(note)
	if err != nil {
		t.Fatal(err)
	}
	dbtest.Eventually(t, "server and folder are gone", func() bool {
		_, err := os.Stat(string(dir))
		return errors.Is(err, os.ErrNotExist)
	})
}
