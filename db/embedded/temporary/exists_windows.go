package temporary

import "os"

// ProcessExists says whether there is a process of an id now.
func ProcessExists(pid int) bool {
	p, err := os.FindProcess(pid) // opens it here, so it fails for one that is gone
	if err != nil {
		return false
	}
	_ = p.Release()
	return true
}
