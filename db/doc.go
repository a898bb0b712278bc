// Package db is the Postgres side of notifier, and the only place besides
// package migrations that holds SQL.
//
// [DB.Feed] follows the log: it LISTENs on a connection of its own, and whenever
// the doorbell rings, or a poll is due, it reads exactly the events between its
// last position and a new one into the hub. A lost connection, a failover and a
// restart of Postgres are all the same catch-up.
//
// [DB.Replay] reads stored events by time, [DB.Publish] stores new ones, and
// [DB.Retain] removes those that have grown too old.
package db
