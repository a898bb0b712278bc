package main

import "context"

// onHangup waits for nothing: there is no such signal.
func onHangup(ctx context.Context, _ func()) { <-ctx.Done() }
