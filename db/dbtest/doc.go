// Package dbtest gives every test a PostgreSQL database of its own.
//
// A test binary starts one cluster, with durability off, when its first test asks for a database.
// The schema is migrated once, into a template; New clones it: 0.2 s each on two
// busy cores (2026-11-21, go test -run xxx -bench New). Tests that crash or tune the server take
// a cluster of their own with NewCluster.
//
// A package's TestMain is one line, func TestMain(m *testing.M) { dbtest.Main(m) }: it stops
// the cluster and reports goroutines the tests left behind.
//
// However a test binary ends, its clusters end with it (db/embedded/temporary).
package dbtest
