//go:build !windows

package embedded

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"syscall"
)

// accountFor chooses who runs the cluster whose data are in dataDir: the owner of the data if
// there are any, else this user, else (as root) postgres or nobody.
func accountFor(dataDir string) (account, error) {
	self := uint32(os.Geteuid())
	info, err := os.Stat(dataDir)
	if err != nil && !os.IsNotExist(err) {
		return account{}, fmt.Errorf("look at data folder: %w", err)
	}
	if err == nil {
		owner, group := ownerOf(info)
		switch {
		case owner == self && self != 0:
			return account{}, nil
		case self != 0:
			return account{}, fmt.Errorf("use data folder %q: it belongs to user %s: run as that user or as root", dataDir, userName(owner))
		case owner != 0:
			return account{name: userName(owner), uid: owner, gid: group, switched: true}, nil
		}
	}
	if self != 0 {
		return account{}, nil
	}
	return unprivileged()
}

// unprivileged finds the user to whom root lends a new cluster.
func unprivileged() (account, error) {
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, uidErr := strconv.ParseUint(u.Uid, 10, 32)
		gid, gidErr := strconv.ParseUint(u.Gid, 10, 32)
		if uidErr == nil && gidErr == nil && uid != 0 {
			return account{name: name, uid: uint32(uid), gid: uint32(gid), switched: true}, nil
		}
	}
	return account{}, fmt.Errorf("choose a user for PostgreSQL: it does not run as root, and there is neither a user postgres nor nobody")
}

func userName(uid uint32) string {
	id := strconv.FormatUint(uint64(uid), 10)
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return id
}

func ownerOf(info os.FileInfo) (uid, gid uint32) {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return st.Uid, st.Gid
	}
	return 0, 0
}

// maySearch reads the permission bits only: an ACL that closes a folder shows later, in PostgreSQL's own words.
func (a account) maySearch(info os.FileInfo) bool {
	uid, gid := ownerOf(info)
	mode := info.Mode().Perm()
	switch {
	case uid == a.uid:
		return mode&0o100 != 0
	case gid == a.gid:
		return mode&0o010 != 0
	default:
		return mode&0o001 != 0
	}
}

// own hands a file or folder over to the account.
func (a account) own(path string) error {
	if !a.switched {
		return nil
	}
	return os.Lchown(path, int(a.uid), int(a.gid))
}

// apply makes cmd run as the account, in a process group of its own: a Ctrl-C on the
// terminal goes to the whole foreground group, and would stop the server before us.
func (a account) apply(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if a.switched {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: a.uid, Gid: a.gid}
	}
}
