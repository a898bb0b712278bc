package testcontainers_test

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"slices"
	"testing"
)

// player is the test of an example, which the testing package has none for.
type player struct {
	testing.TB // of which only what is below may be called
	ctx        context.Context
	cleanups   []func()
	failed     bool
}

// run plays a test and prints how it went.
func run(test func(t testing.TB)) {
	ctx, cancel := context.WithCancel(context.Background())
	p := &player{ctx: ctx}
	ended := make(chan struct{})
	go func() { // a test that fails at once ends its goroutine
		defer close(ended)
		test(p)
	}()
	<-ended
	cancel()
	for _, cleanup := range slices.Backward(p.cleanups) {
		cleanup()
	}
	if !p.failed {
		fmt.Println("passed")
	}
}

func (*player) Helper()                    {}
func (*player) Name() string               { return "example" }
func (p *player) Context() context.Context { return p.ctx }
func (*player) Output() io.Writer          { return io.Discard }
func (p *player) Cleanup(f func())         { p.cleanups = append(p.cleanups, f) }
func (p *player) Failed() bool             { return p.failed }

func (p *player) Errorf(format string, arguments ...any) {
	p.failed = true
	fmt.Printf(format+"\n", arguments...)
}

func (p *player) Fatalf(format string, arguments ...any) {
	p.Errorf(format, arguments...)
	runtime.Goexit()
}

func (p *player) Fatal(arguments ...any) { p.Fatalf("%s", fmt.Sprint(arguments...)) }
