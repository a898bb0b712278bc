//go:build !windows

package temporary

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

// endCluster stops the server of folder $1 and removes the folder.
const endCluster = `
pid=$(head -n 1 "$1/data/postmaster.pid" 2>/dev/null)
if [ -n "$pid" ] && kill -QUIT "$pid" 2>/dev/null; then
	n=0
	while kill -0 "$pid" 2>/dev/null && [ $n -lt 100 ]; do sleep 0.1; n=$((n+1)); done
fi
rm -rf "$1"
`

// Watchdog is a shell that cleans up after this process.
type Watchdog struct {
	leash *os.File // our end of its input
	cmd   *exec.Cmd
}

// Watch starts a shell that runs a script with its arguments when this process has
// ended, even by SIGKILL or a panic: then the shell's input ends.
func Watch(script string, args ...string) (*Watchdog, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make watchdog's pipe: %w", err)
	}
	defer r.Close()
	cmd := exec.Command("/bin/sh", append([]string{"-c", "read -r _\n" + script, "sh"}, args...)...)
	cmd.Stdin = r
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // not to be ended by the Ctrl-C that ends us
	if err := cmd.Start(); err != nil {
		w.Close()
		return nil, fmt.Errorf("start watchdog: %w", err)
	}
	return &Watchdog{leash: w, cmd: cmd}, nil
}

// Release has it run its script, which finds nothing to do if all is gone by now,
// and waits for it. A nil watchdog is none.
func (w *Watchdog) Release() {
	if w == nil {
		return
	}
	w.leash.Close()
	_ = w.cmd.Wait()
}
