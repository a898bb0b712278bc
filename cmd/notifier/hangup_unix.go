//go:build unix

package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// onHangup calls a function at each SIGHUP until the context ends: by custom,
// that has a server look at its files again.
func onHangup(ctx context.Context, call func()) {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	for {
		select {
		case <-hangups:
			call()
		case <-ctx.Done():
			return
		}
	}
}
