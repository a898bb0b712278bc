package temporary

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"example.com/notifier/db/embedded"
)

// dirPrefix begins the name of every test cluster's folder; our process id follows.
const dirPrefix = "notifier-test-"

// reapOnce removes what test processes that are gone left behind, in case even their
// watchdogs were killed. Best effort: the leftovers are nobody's fault here.
var reapOnce = sync.OnceFunc(func() {
	left, _ := filepath.Glob(filepath.Join(os.TempDir(), dirPrefix+"*"))
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for _, dir := range left {
		if !ownerLives(dir) {
			_ = embedded.Remove(ctx, dir)
		}
	}
})

// ownerLives reads the process id out of a folder's name. An id that was handed out again
// only delays the reaping.
func ownerLives(dir string) bool {
	id, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(dir), dirPrefix), "-")
	pid, err := strconv.Atoi(id)
	return err != nil || ProcessExists(pid)
}
