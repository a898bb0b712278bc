package metrics

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"example.com/notifier/db"
	"example.com/notifier/httpapi"
	"example.com/notifier/notifier"
)

// instance is one whose database does not answer.
type instance struct{}

func (instance) Ready() error { return errors.New("not following") }

func (instance) QueueUsage(context.Context) (float64, error) {
	return 0, errors.New("no connection")
}

func (instance) Dropped(context.Context) (int64, error) { return 0, errors.New("no connection") }

type server struct{}

func (server) Stats() httpapi.Stats { return httpapi.Stats{} }

func (instance) Stats() db.Stats { return db.Stats{EventsRead: 7} }

// A database that can't be asked takes nothing but that away.
func TestMetrics_WithoutTheDatabase(t *testing.T) {
	t.Parallel()
	m := New(Config{
		Version: "v1", Hub: Time(notifier.NewHub(notifier.HubConfig{})), Database: instance{}, Server: server{},
		Logger: slog.New(slog.DiscardHandler),
	})
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	body, err := io.ReadAll(w.Body)
	if err != nil || w.Code != http.StatusOK {
		t.Fatalf("%d, %v, %s", w.Code, err, body)
	}
	for _, line := range []string{"\nnotifier_ready 0\n", "\nnotifier_events_read_total 7\n", "\nnotifier_build_info{goversion="} {
		if !strings.Contains(string(body), line) {
			t.Errorf("missing: %s", line)
		}
	}
	if strings.Contains(string(body), "\nnotifier_notification_queue_usage_ratio") || strings.Contains(string(body), "\nnotifier_dropped_events_total") {
		t.Error("something is given that nobody knows")
	}
}

// The gauge of readers is fed from the hub's counter.
func TestFamilies_Readers(t *testing.T) {
	t.Parallel()
	for _, f := range families {
		if f.name != "notifier_readers" {
			continue
		}
		var got float64
		f.read(&figures{hub: notifier.HubStats{Readers: 3}}, func(value float64, _ ...string) { got = value })
		if got != 3 {
			t.Errorf("of 3 readers it shows %v", got)
		}
		return
	}
	t.Error("there is no such gauge")
}
