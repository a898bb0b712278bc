package metrics

import (
	"testing"
	"testing/synctest"
	"time"

	"example.com/notifier/notifier"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// sink is a client that takes a second to write to.
type sink struct{}

func (sink) Encode([]*notifier.Event) []byte                    { return []byte("frame") }
func (sink) Joins() bool                                        { return false }
func (sink) Queue([]byte, int, *notifier.Event) *notifier.Event { return nil }
func (sink) Behind()                                            {}
func (sink) Broken(notifier.Cursor)                             {}
func (sink) Flush()                                             { <-time.After(time.Second) } // fake time
func (sink) End(notifier.Ending)                                {}
func (sink) Revoke([]*notifier.Subscription, notifier.Loss)     {}
func position(t *testing.T, text string) notifier.Position {
	p, err := notifier.ParsePosition(text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// observed returns how often a histogram was told something, and the sum.
func observed(t *testing.T, registry *prometheus.Registry, name string) (count uint64, sum time.Duration) {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			h := f.GetMetric()[0].GetHistogram()
			return h.GetSampleCount(), time.Duration(h.GetSampleSum() * float64(time.Second)).Round(time.Millisecond)
		}
	}
	t.Fatalf("there is no %s", name)
	return 0, 0
}

// The database's clock is an hour ahead; it is now noon and a bit there.
func TestTimedHub_SaysWhenTransactionsCommitted(t *testing.T) {
	t.Parallel()
	const ahead = time.Hour
	type event struct {
		txid uint64
		age  time.Duration // of its created_at
		kind notifier.Control
	}
	for name, test := range map[string]struct {
		since  time.Duration // how long ago the last read was; 0: there was none
		events []event
		count  uint64
		sum    time.Duration
	}{
		"one event":                    {5 * time.Second, []event{{7, 20 * time.Millisecond, ""}}, 1, 20 * time.Millisecond},
		"no read before":               {0, []event{{7, 20 * time.Millisecond, ""}}, 1, 20 * time.Millisecond},
		"newest of a transaction":      {5 * time.Second, []event{{7, 3 * time.Second, ""}, {8, 2600 * time.Millisecond, ""}, {7, 40 * time.Millisecond, ""}}, 2, 2640 * time.Millisecond},
		"in progress at the last read": {100 * time.Millisecond, []event{{7, 30*time.Second + time.Millisecond, ""}}, 1, 100 * time.Millisecond},
		"after an outage":              {10 * time.Minute, []event{{7, 9*time.Minute + time.Millisecond, ""}}, 1, 9*time.Minute + time.Millisecond},
		"set by a client":              {time.Second, []event{{7, time.Hour + time.Millisecond, ""}, {8, -time.Hour + time.Millisecond, ""}}, 0, 0},
		"whole seconds":                {time.Second, []event{{7, 500 * time.Millisecond, ""}}, 0, 0}, // it is half past
		"a bit in the future":          {time.Second, []event{{7, -20 * time.Millisecond, ""}}, 1, 0},
		"a change of access":           {time.Second, []event{{7, 20 * time.Millisecond, notifier.ControlDropUser}}, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				<-time.After(500 * time.Millisecond) // fake time, which begins with a whole second
				there := time.Now().Add(ahead)
				p := notifier.Page{From: position(t, "7:7:"), To: position(t, "9:9:"), Last: true, Clock: notifier.Clock{Ahead: ahead}}
				if test.since > 0 {
					p.Clock.Since = there.Add(-test.since)
				}
				for i, e := range test.events {
					p.Events = append(p.Events, &notifier.Event{ID: int64(i), TxID: e.txid, CreatedAt: there.Add(-e.age), Control: e.kind})
				}
				h := Time(notifier.NewHub(notifier.HubConfig{}))
				registry := prometheus.NewRegistry()
				registry.MustRegister(h.read.histogram, h.written.histogram)
				h.Start(notifier.Beginning{Position: p.From})
				if err := h.Publish(t.Context(), p); err != nil {
					t.Fatal(err)
				}
				if count, sum := observed(t, registry, "notifier_commit_to_read_seconds"); count != test.count || sum != test.sum {
					t.Errorf("read: %d times, %v; want %d, %v", count, sum, test.count, test.sum)
				}
				if count, _ := observed(t, registry, "notifier_commit_to_written_seconds"); count != 0 {
					t.Errorf("written %d times, and there is nobody to write to", count)
				}
			})
		})
	}
}

// What is read first is written later, and only what is for somebody.
func TestTimedHub_WrittenWhenTheSocketsWere(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := Time(notifier.NewHub(notifier.HubConfig{}))
		registry := prometheus.NewRegistry()
		registry.MustRegister(h.read.histogram, h.written.histogram)
		h.Start(notifier.Beginning{Position: position(t, "7:7:")})
		s := notifier.NewSubscriber("u", sink{}, sink{})
		h.Join(s)
		if _, _, err := h.Subscribe(s, notifier.Viewer{User: "u"}, notifier.Filter{Types: []string{"for u"}}, notifier.Permit{}); err != nil {
			t.Fatal(err)
		}
		for i, kind := range []string{"for u", "for nobody"} {
			created := time.Now()
			<-time.After(20*time.Millisecond + time.Microsecond) // fake time
			e := &notifier.Event{ID: int64(i), TxID: uint64(7 + i), CreatedAt: created.Add(time.Microsecond), Type: kind}
			p := notifier.Page{From: position(t, "7:7:"), To: position(t, "9:9:"), Events: []*notifier.Event{e}, Last: true}
			if err := h.Publish(t.Context(), p); err != nil {
				t.Fatal(err)
			}
		}
		if count, sum := observed(t, registry, "notifier_commit_to_read_seconds"); count != 2 || sum != 40*time.Millisecond {
			t.Errorf("read: %d times, %v; want 2, 40ms", count, sum)
		}
		if count, sum := observed(t, registry, "notifier_commit_to_written_seconds"); count != 1 || sum != 1020*time.Millisecond {
			t.Errorf("written: %d times, %v; want 1, 1.02s", count, sum)
		}
	})
}
