package metrics

import (
	"math"
	"testing"
	"time"
)

func TestWindow_QuantilesOfTheLastTenSeconds(t *testing.T) {
	t.Parallel()
	var w window
	now := time.Unix(1_800_000_000, 0)
	if got := w.latency(now); got.Count != 0 || got.P50 != 0 || got.P99 != 0 {
		t.Errorf("with nothing observed: %+v", got)
	}
	for i := range 1000 {
		w.observe(now.Add(time.Duration(i%5)*time.Second), float64(i+1)/1000)
	}
	got := w.latency(now.Add(5 * time.Second))
	if got.Count != 1000 || math.Abs(got.P50-500) > 60 || math.Abs(got.P99-990) > 110 {
		t.Errorf("of 1 to 1000 ms: %+v", got)
	}
	if got := w.latency(now.Add(11 * time.Second)); got.Count != 600 {
		t.Errorf("two of five seconds later, %d of 1000 are left", got.Count)
	}
	if got := w.latency(now.Add(time.Minute)); got.Count != 0 {
		t.Errorf("after a minute: %+v", got)
	}
	w.observe(now.Add(time.Minute), 1e9)
	w.observe(now.Add(time.Minute), 0)
	if got := w.latency(now.Add(time.Minute)); got.Count != 2 || got.P50 > .2 || got.P99 < 300_000 {
		t.Errorf("beyond both ends: %+v", got)
	}
}
