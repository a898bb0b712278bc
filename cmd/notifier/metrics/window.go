package metrics

import (
	"math"
	"sync"
	"time"

	"example.com/notifier/httpapi/instances"
)

const (
	// windowSeconds is over how long a window looks back.
	windowSeconds = 10
	// windowFirst is where its buckets begin, in seconds; each is wider than the
	// one before by a fifth, so that what is read from them is wrong by a tenth at
	// the most. The last one has all that is beyond.
	windowFirst   = 100e-6
	windowFactor  = 1.2
	windowBuckets = 84 // up to six minutes
)

// window keeps the times of the last seconds, in little memory, for quantiles.
type window struct {
	mu    sync.Mutex
	slots [windowSeconds]slot
}

// slot is one second.
type slot struct {
	second int64 // as of Unix
	counts [windowBuckets]uint32
}

func (w *window) observe(now time.Time, seconds float64) {
	bucket := 0
	if seconds > windowFirst {
		bucket = min(windowBuckets-1, int(math.Ceil(math.Log(seconds/windowFirst)/math.Log(windowFactor))))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	at := now.Unix()
	s := &w.slots[at%windowSeconds]
	if s.second != at {
		*s = slot{second: at}
	}
	s.counts[bucket]++
}

// latency returns the quantiles of the last seconds.
func (w *window) latency(now time.Time) instances.Latency {
	var counts [windowBuckets]uint64
	var total uint64
	w.mu.Lock()
	for i := range w.slots {
		if age := now.Unix() - w.slots[i].second; age < 0 || age >= windowSeconds {
			continue
		}
		for b, n := range w.slots[i].counts {
			counts[b] += uint64(n)
			total += uint64(n)
		}
	}
	w.mu.Unlock()
	return instances.Latency{P50: quantile(&counts, total, .5), P99: quantile(&counts, total, .99), Count: int(total)} //nolint:gosec // ten seconds' worth
}

// quantile returns the middle of the bucket that a part of all lies below, in
// milliseconds.
func quantile(counts *[windowBuckets]uint64, total uint64, part float64) float64 {
	if total == 0 {
		return 0
	}
	rank := uint64(math.Ceil(part * float64(total)))
	var below uint64
	for b, n := range counts {
		if below += n; below >= rank {
			return math.Round(windowFirst*math.Pow(windowFactor, float64(b)-.5)*1e5) / 100
		}
	}
	return 0
}
