//go:build !linux

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "bench: it needs Linux (epoll, /proc, the CPU clocks of other processes)")
	os.Exit(1)
}
