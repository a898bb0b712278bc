package metrics

import (
	"context"
	"time"

	"example.com/notifier/db"
	"example.com/notifier/httpapi"
	"example.com/notifier/notifier"
	"github.com/prometheus/client_golang/prometheus"
)

// askTimeout bounds the statements of a scrape.
const askTimeout = 2 * time.Second

// collector reads what others have counted, whenever somebody looks.
type collector struct {
	config Config
	descs  []*prometheus.Desc // of families, in their order
}

func newCollector(c Config) *collector {
	descs := make([]*prometheus.Desc, len(families))
	for i, f := range families {
		descs[i] = prometheus.NewDesc(f.name, f.help, f.labels, nil)
	}
	return &collector{config: c, descs: descs}
}

// figures are all that one look sees.
type figures struct {
	hub      notifier.HubStats
	database db.Stats
	server   httpapi.Stats
	ready    bool
	queue    float64
	queueErr error // why queue is not known
	dropped  int64
	dropErr  error // why dropped is not known
}

func (c *collector) look() *figures {
	ctx, cancel := context.WithTimeout(context.Background(), askTimeout) // a collector is given none
	defer cancel()
	f := &figures{
		hub:      c.config.Hub.Stats(),
		database: c.config.Database.Stats(),
		server:   c.config.Server.Stats(),
		ready:    c.config.Database.Ready() == nil,
	}
	if f.queue, f.queueErr = c.config.Database.QueueUsage(ctx); f.queueErr != nil {
		c.config.Logger.Debug("metrics: notification queue not asked", "error", f.queueErr)
	}
	if f.dropped, f.dropErr = c.config.Database.Dropped(ctx); f.dropErr != nil {
		c.config.Logger.Debug("metrics: dropped events not counted", "error", f.dropErr)
	}
	return f
}

// Describe implements [prometheus.Collector].
func (c *collector) Describe(descs chan<- *prometheus.Desc) {
	for _, d := range c.descs {
		descs <- d
	}
}

// Collect implements [prometheus.Collector].
func (c *collector) Collect(metrics chan<- prometheus.Metric) {
	now := c.look()
	for i, f := range families {
		f.read(now, func(value float64, labels ...string) {
			metrics <- prometheus.MustNewConstMetric(c.descs[i], f.kind, value, labels...)
		})
	}
}
