package dbtest_test

import (
	"testing"

	"example.com/notifier/db/dbtest"
)

// BenchmarkNew is what a database of its own costs a test.
func BenchmarkNew(b *testing.B) {
	dbtest.New(b) // the cluster's start
	for b.Loop() {
		dbtest.New(b)
	}
}
