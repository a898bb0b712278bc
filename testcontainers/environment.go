package testcontainers

import (
	"context"
	"sync"
	"testing"
	"time"

	"example.com/notifier/db/fixture"
	"example.com/notifier/httpapi/auth"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// tokenLife is longer than any test.
const tokenLife = 24 * time.Hour

// Environment is one test's database, with the first of the instances in front of it.
type Environment struct {
	*Instance
	t        testing.TB
	suite    *Suite
	options  startOptions
	postgres *host
	url      string
	pool     *pgxpool.Pool // past all that fails on command

	mu          sync.Mutex
	count       int // of subscribers and fences, for their names
	subscribers []*Subscriber
}

// DatabaseURL is where the application under test connects to, as the owner of all
// tables.
func (e *Environment) DatabaseURL() string { return e.url }

// Pool is a pool on the database, for the test's own statements.
func (e *Environment) Pool() *pgxpool.Pool { return e.pool }

// Exec runs a statement, in a transaction of its own.
func (e *Environment) Exec(sql string, arguments ...any) {
	e.t.Helper()
	_, err := e.pool.Exec(e.t.Context(), sql, arguments...)
	e.must("execute "+sql, err)
}

// User makes users known to the default policy, notifier.users.
func (e *Environment) User(names ...string) {
	e.t.Helper()
	e.must("make users", fixture.AddUsers(e.t.Context(), e.pool, names))
}

// Grant lets a user read datasets, by the default policy.
func (e *Environment) Grant(user string, datasets ...string) {
	e.t.Helper()
	e.must("give access", fixture.Grant(e.t.Context(), e.pool, user, datasets))
}

// Revoke takes that back, with effect on all that is committed after it returns.
func (e *Environment) Revoke(user string, datasets ...string) {
	e.t.Helper()
	e.must("take access", fixture.Revoke(e.t.Context(), e.pool, user, datasets))
}

// Drop ends all connections of a user.
func (e *Environment) Drop(user string) {
	e.t.Helper()
	e.must("drop", fixture.Drop(e.t.Context(), e.pool, user))
}

// Position is the cursor of this moment: notifier.position().
func (e *Environment) Position() string {
	e.t.Helper()
	cursor, err := fixture.Position(e.t.Context(), e.pool)
	e.must("ask for the position", err)
	return cursor
}

// Token is one for a user with roles (publisher, admin) that every instance takes.
func (e *Environment) Token(user string, roles ...string) string {
	e.t.Helper()
	var has auth.Roles
	for _, role := range roles {
		one := auth.RolesOf(auth.Role(role))
		if one == 0 {
			e.t.Fatalf("make a token: there is no role %q", role)
		}
		has |= one
	}
	token, err := e.suite.issuer.Issue(auth.Grant{User: user, Roles: has, TTL: tokenLife})
	e.must("make a token", err)
	return token
}

// Hold runs f in a transaction that it leaves open, so that what others commit
// meanwhile is visible before it although written later. The transaction is rolled back
// with the test if it is not ended before.
func (e *Environment) Hold(f func(tx pgx.Tx) error) *Held {
	e.t.Helper()
	// The pool must not run dry because of what is held.
	conn, err := pgx.Connect(e.t.Context(), e.url)
	e.must("connect", err)
	e.t.Cleanup(func() { _ = conn.Close(context.Background()) })
	tx, err := conn.Begin(e.t.Context())
	e.must("begin a transaction", err)
	e.must("write in a transaction that is to be held", f(tx))
	return &Held{e.t, tx}
}

// Held is an open transaction.
type Held struct {
	t  testing.TB
	tx pgx.Tx
}

// Commit commits what was held.
func (h *Held) Commit() {
	h.t.Helper()
	if err := h.tx.Commit(h.t.Context()); err != nil {
		h.t.Fatalf("commit what was held: %v", err)
	}
}

// Rollback has it not happen.
func (h *Held) Rollback() {
	h.t.Helper()
	if err := h.tx.Rollback(h.t.Context()); err != nil {
		h.t.Fatalf("roll back what was held: %v", err)
	}
}

// KillListeners ends the connections by which all instances LISTEN.
func (e *Environment) KillListeners() {
	e.t.Helper()
	ended, err := fixture.EndListeners(e.t.Context(), e.pool)
	e.must("end the LISTEN connections", err)
	if ended == 0 {
		e.t.Fatal("end the LISTEN connections: there is none")
	}
}

// CrashPostgres ends the server as a crash would. It must be the test's own, see
// [OwnPostgres].
func (e *Environment) CrashPostgres() {
	e.t.Helper()
	if e.postgres.shared {
		e.t.Fatal("crash Postgres: other tests use it too: start the test with OwnPostgres")
	}
	e.must("crash Postgres", e.postgres.Crash(e.t.Context()))
}

// RestartPostgres brings it back, with all that was committed; instances catch up by
// themselves.
func (e *Environment) RestartPostgres() {
	e.t.Helper()
	e.must("restart Postgres", e.postgres.Restart(e.t.Context()))
	e.pool.Reset() // its connections are dead
}

func (e *Environment) must(what string, err error) {
	if err != nil {
		e.t.Helper()
		e.t.Fatalf("%s: %v", what, err)
	}
}
