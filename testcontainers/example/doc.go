// Package tracker is a sample application, an issue tracker, whose tests use notifier's
// package testcontainers. It is a module of its own: all it knows of notifier is what any
// application does, the SQL functions in its schema and that package in its tests.
package tracker
