//go:build linux

package main

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// cpuTime returns the CPU time that all threads of a process have used. The
// clock counts nanoseconds; /proc/PID/stat would count hundredths of a second.
func cpuTime(pid int) (time.Duration, error) {
	const wholeProcess = 2 // CPUCLOCK_SCHED of <linux/posix-timers.h>
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|wholeProcess), &t); err != nil {
		return 0, fmt.Errorf("read CPU time of process %d: %w", pid, err)
	}
	return time.Duration(t.Nano()), nil
}

// cpuDuring returns the CPU time that a process used while something was done.
func cpuDuring(pid int, do func() error) (time.Duration, error) {
	before, err := cpuTime(pid)
	if err != nil {
		return 0, err
	}
	if err := do(); err != nil {
		return 0, err
	}
	after, err := cpuTime(pid)
	return after - before, err
}

// residentMemory returns the VmRSS of a process in bytes, peakMemory the most that
// it was.
func residentMemory(pid int) (int64, error) { return memoryOf(pid, "VmRSS:") }

func peakMemory(pid int) (int64, error) { return memoryOf(pid, "VmHWM:") }

func memoryOf(pid int, what string) (int64, error) {
	path := fmt.Sprintf("/proc/%d/status", pid)
	f, err := os.Open(path)
	if err != nil {
		return 0, fmt.Errorf("read resident memory: %w", err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if value, ok := strings.CutPrefix(lines.Text(), what); ok {
			kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("read resident memory: no %s in %s", what, path)
}

// raiseOpenFiles lets this process and its children have that many files open,
// as far as it may; where it may not, the connection that is one too many says
// so.
func raiseOpenFiles(wanted uint64) {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil {
		return
	}
	if limit.Max < wanted {
		more := unix.Rlimit{Cur: wanted, Max: wanted} // for root
		if unix.Setrlimit(unix.RLIMIT_NOFILE, &more) == nil {
			return
		}
	}
	limit.Cur = limit.Max
	_ = unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)
}
