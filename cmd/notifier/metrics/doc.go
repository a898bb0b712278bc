// Package metrics shows operators what an instance does, in the form of
// Prometheus.
//
// The packages where things happen count them, without any library; a collector
// asks them when somebody looks. So nothing that carries an event pays for
// metrics, and nobody pays who does not look. Only how long events take is
// measured here, page by page, by standing between the feed and the hub: for a
// scrape, since the start, and of the last seconds for who looks on.
package metrics
