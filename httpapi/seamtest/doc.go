// Package seamtest cuts clients with cursors off, again and again, in every way
// there is, while events are committed, and compares what each had with what was
// committed. It holds tests only.
package seamtest
