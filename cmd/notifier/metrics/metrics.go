package metrics

import (
	"context"
	"log/slog"
	"net/http"
	"runtime"

	"example.com/notifier/db"
	"example.com/notifier/httpapi"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// maxScrapes bounds how many look at once: each asks the database something.
const maxScrapes = 4

// Config says what there is to be seen. All fields are required.
type Config struct {
	Version  string
	Hub      *TimedHub
	Database Database
	Server   interface{ Stats() httpapi.Stats }
	Logger   *slog.Logger
}

// Database is where events are read from.
type Database interface {
	Stats() db.Stats
	// Ready returns nil while the log is followed.
	Ready() error
	// QueueUsage asks how full the queue of notifications is, 0 to 1.
	QueueUsage(ctx context.Context) (float64, error)
	// Dropped asks how many changes of watched tables have become no event.
	Dropped(ctx context.Context) (int64, error)
}

// Metrics is a registry of its own with all that there is.
type Metrics struct {
	registry *prometheus.Registry
	logger   *slog.Logger
}

// New returns the metrics of an instance.
func New(c Config) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		logger:   c.Logger,
	}
	m.registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		buildInfo(c.Version),
		c.Hub.read.histogram, c.Hub.written.histogram,
		newCollector(c),
	)
	return m
}

// Handler answers with the metrics.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		ErrorLog:            slog.NewLogLogger(m.logger.Handler(), slog.LevelWarn),
		MaxRequestsInFlight: maxScrapes,
	})
}

func buildInfo(version string) prometheus.Collector {
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        "notifier_build_info",
		Help:        "1, with the version of this notifier and of Go.",
		ConstLabels: prometheus.Labels{"version": version, "goversion": runtime.Version()},
	})
	info.Set(1)
	return info
}
