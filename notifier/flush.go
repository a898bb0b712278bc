package notifier

import (
	"runtime"
	"sync"
)

// flushShare is how many receivers are worth a goroutine of their own: a write
// to a socket costs microseconds, a goroutine about one.
const flushShare = 64

// flush lets every receiver write, on all processors if there are many.
func flush(touched []*Subscriber) {
	workers := min(runtime.GOMAXPROCS(0), len(touched)/flushShare)
	if workers < 2 {
		flushEach(touched)
		return
	}
	var wg sync.WaitGroup
	share := (len(touched) + workers - 1) / workers
	for len(touched) > share {
		part := touched[:share]
		touched = touched[share:]
		wg.Go(func() { flushEach(part) }) // ends when each has written what its socket takes at once
	}
	flushEach(touched)
	wg.Wait()
}

func flushEach(touched []*Subscriber) {
	for _, s := range touched {
		s.receiver.Flush()
	}
}
