package notifier_test

import (
	"testing"

	"example.com/notifier/notifier"
)

// sink is a receiver whose socket takes everything at once.
type sink struct {
	outbox notifier.Outbox
	frames [][]byte
}

func (s *sink) Behind()                                        {}
func (s *sink) Broken(notifier.Cursor)                         {}
func (s *sink) End(notifier.Ending)                            {}
func (s *sink) Revoke([]*notifier.Subscription, notifier.Loss) {}

func (s *sink) Queue(frame []byte, events int, first *notifier.Event) *notifier.Event {
	s.outbox.Queue(frame, events, first)
	return nil
}

func (s *sink) Flush() {
	if !s.outbox.Acquire() {
		return
	}
	for {
		s.frames = s.outbox.Next(s.frames[:0])
		if len(s.frames) == 0 {
			return
		}
		size := 0
		for _, frame := range s.frames {
			size += len(frame)
		}
		s.outbox.Wrote(size)
	}
}

// BenchmarkHub is the cost of a delivery without the socket: a page for 1,000
// subscribers of one user.
func BenchmarkHub(b *testing.B) {
	for _, c := range []struct {
		name   string
		events int
	}{{"event", 1}, {"page", 1000}} {
		b.Run(c.name, func(b *testing.B) {
			h := notifier.NewHub(notifier.HubConfig{})
			for range 1000 {
				s := notifier.NewSubscriber("a", ids{joins: true}, &sink{})
				h.Join(s)
				if _, _, err := subscribe(h, s, forUser("a")); err != nil {
					b.Fatal(err)
				}
			}
			var page []*notifier.Event
			for i := range int64(c.events) {
				page = append(page, to("a", uint64(i), i+1))
			}
			b.ReportAllocs()
			for b.Loop() {
				publish(h, page...)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*1000*c.events), "ns/delivery")
		})
	}
}
