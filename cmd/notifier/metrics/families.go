package metrics

import (
	"example.com/notifier/db"
	"github.com/prometheus/client_golang/prometheus"
)

// family is a metric, with all its labels.
type family struct {
	name, help string
	kind       prometheus.ValueType
	labels     []string
	read       func(f *figures, emit func(value float64, labels ...string))
}

const (
	counter = prometheus.CounterValue
	gauge   = prometheus.GaugeValue
)

// one is a metric without labels.
func one(kind prometheus.ValueType, name, help string, value func(*figures) float64) family {
	return family{name, help, kind, nil, func(f *figures, emit func(float64, ...string)) { emit(value(f)) }}
}

// families are all but the histograms, and what the Go runtime and the process
// have to say. They are never changed.
var families = []family{
	one(gauge, "notifier_ready", "1 while the log is followed, 0 while nothing is read.",
		func(f *figures) float64 {
			if f.ready {
				return 1
			}
			return 0
		}),

	{"notifier_connections", "Connections that are open.", gauge, []string{"protocol"},
		func(f *figures, emit func(float64, ...string)) {
			for name, p := range f.server.Protocols {
				emit(float64(p.Open), name)
			}
		}},
	{"notifier_connections_opened_total", "Connections that were opened.", counter, []string{"protocol"},
		func(f *figures, emit func(float64, ...string)) {
			for name, p := range f.server.Protocols {
				emit(float64(p.Opened), name)
			}
		}},
	{"notifier_connections_ended_total", "Connections that have ended, by why.", counter, []string{"reason"},
		func(f *figures, emit func(float64, ...string)) {
			for reason, n := range f.server.Ended {
				emit(float64(n), string(reason))
			}
		}},
	{"notifier_refusals_total", "Clients, requests and messages that were refused, by why; that of a limit is the name of its setting.", counter, []string{"reason"},
		func(f *figures, emit func(float64, ...string)) {
			for reason, n := range f.server.Refused {
				emit(float64(n), string(reason))
			}
		}},
	one(counter, "notifier_delayed_commands_total", "Messages after which a client had to wait, because it had sent more than it may.",
		func(f *figures) float64 { return float64(f.server.Delayed) }),
	one(gauge, "notifier_subscriptions", "Subscriptions in force.",
		func(f *figures) float64 { return float64(f.hub.Subscriptions) }),
	one(gauge, "notifier_readers", "Clients that are not live: they resume, or take less than is sent to them, and read from the log at their own pace.",
		func(f *figures) float64 { return float64(f.hub.Readers) }),
	one(gauge, "notifier_outbox_events", "Events that wait to be written, over all clients.",
		func(f *figures) float64 { return float64(f.server.WaitingEvents) }),
	one(gauge, "notifier_outbox_bytes", "Bytes of events that wait to be written, over all clients; those that share a frame in memory each count it.",
		func(f *figures) float64 { return float64(f.server.WaitingBytes) }),

	one(counter, "notifier_events_read_total", "Rows of the log that were read for live delivery, changes of access among them.",
		func(f *figures) float64 { return float64(f.database.EventsRead) }),
	one(counter, "notifier_events_delivered_total", "Live events handed to connections, once for each client.",
		func(f *figures) float64 { return float64(f.hub.Deliveries) }),
	one(counter, "notifier_events_caught_up_total", "Events handed to clients that had missed them, as they were away or too slow; once for each client.",
		func(f *figures) float64 { return float64(f.hub.CaughtUp) }),
	one(counter, "notifier_payloads_too_large_total", "Events that went out with null in place of a payload that was too large.",
		func(f *figures) float64 { return float64(f.database.LargePayloads) }),
	{"notifier_dropped_events_total", "Changes of watched tables that became no event, in the whole database: notifier.dropped says which, and why. " +
		"Missing if the database does not answer.", counter, nil,
		func(f *figures, emit func(float64, ...string)) {
			if f.dropErr == nil {
				emit(float64(f.dropped))
			}
		}},
	one(counter, "notifier_replay_rows_total", "Rows that were read from the table for clients, before it was looked who may see them.",
		func(f *figures) float64 { return float64(f.database.ReplayRows) }),

	one(counter, "notifier_access_checks_total", "How often it was looked up whether somebody may see an event, live or stored.",
		func(f *figures) float64 { return float64(f.hub.Checks) }),
	one(counter, "notifier_access_cache_hits_total", "Such look-ups that found an answer in memory. After one that did not, the policy is asked, and it is looked up again.",
		func(f *figures) float64 { return float64(f.hub.Known) }),
	one(counter, "notifier_access_questions_total", "Questions that the policy in the database was asked.",
		func(f *figures) float64 { return float64(f.hub.Questions) }),
	one(counter, "notifier_access_statements_total", "Statements that answered those questions.",
		func(f *figures) float64 { return float64(f.hub.Statements) }),
	one(counter, "notifier_access_failures_total", "Attempts to ask the policy that failed; while they do, nothing is delivered.",
		func(f *figures) float64 { return float64(f.hub.Failures) }),

	one(counter, "notifier_doorbell_rings_total", "Notifications from Postgres that something was committed.",
		func(f *figures) float64 { return float64(f.database.Rings) }),
	one(counter, "notifier_doorbell_chases_total", "Reads made soon after another because somebody may be committing silently.",
		func(f *figures) float64 { return float64(f.database.Chases) }),
	one(counter, "notifier_doorbell_fallback_finds_total", "Polls that found events nobody had rung for. Not counted where there is no LISTEN.",
		func(f *figures) float64 { return float64(f.database.FallbackFinds) }),
	one(counter, "notifier_listener_reconnects_total", "Attempts to connect to the log again after it was lost.",
		func(f *figures) float64 { return float64(f.database.Reconnects) }),
	{"notifier_notification_queue_usage_ratio", "Part of the cluster's notification queue that is taken (pg_notification_queue_usage): at 1 commits fail that NOTIFY. " +
		"Missing if the database does not answer.", gauge, nil,
		func(f *figures, emit func(float64, ...string)) {
			if f.queueErr == nil {
				emit(f.queue)
			}
		}},

	{"notifier_pool_connections", "Connections to the database, in use or idle.", gauge, []string{"pool", "state"},
		func(f *figures, emit func(float64, ...string)) {
			for _, p := range f.database.Pools {
				emit(float64(p.InUse), p.Name, "in_use")
				emit(float64(p.Idle), p.Name, "idle")
			}
		}},
	ofPools(gauge, "notifier_pool_max_connections", "Most connections that a pool may have.",
		func(p db.PoolStats) float64 { return float64(p.Max) }),
	ofPools(counter, "notifier_pool_acquires_total", "How often a connection was taken from a pool.",
		func(p db.PoolStats) float64 { return float64(p.Acquires) }),
	ofPools(counter, "notifier_pool_waits_total", "How often somebody had to wait for one, to be given back or to be made.",
		func(p db.PoolStats) float64 { return float64(p.Waits) }),
	ofPools(counter, "notifier_pool_wait_seconds_total", "How long, in all.",
		func(p db.PoolStats) float64 { return p.Waited.Seconds() }),
}

// ofPools is a metric that each pool of connections has.
func ofPools(kind prometheus.ValueType, name, help string, value func(db.PoolStats) float64) family {
	return family{name, help, kind, []string{"pool"}, func(f *figures, emit func(float64, ...string)) {
		for _, p := range f.database.Pools {
			emit(value(p), p.Name)
		}
	}}
}
