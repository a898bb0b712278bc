package embedded

import (
	"os"
	"os/exec"
	"syscall"
)

// accountFor is always this user: PostgreSQL drops an administrator's rights by itself.
func accountFor(string) (account, error) { return account{}, nil }

func (a account) maySearch(os.FileInfo) bool { return true }

func (a account) own(string) error { return nil }

// apply keeps Ctrl-C on the console away from the server.
func (a account) apply(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP}
}
