//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"example.com/notifier/httpapi/auth"
)

const (
	accessSecret  = "a secret of 32 bytes for benches"
	accessDataset = "bench"
	// countedEvents is of how many events the policy's statements are counted.
	countedEvents = 20
	// connectionsPerUser is how many of those who lose access belong together.
	connectionsPerUser = 10
)

// measureAccess measures what it costs that each subscriber is somebody else.
func (b *bench) measureAccess(ctx context.Context) (err error) {
	url, err := b.accessDatabase(ctx)
	if err != nil {
		return err
	}
	token, err := tokens()
	if err != nil {
		return err
	}
	guarded, err := b.startServer(ctx, url, "NOTIFIER_JWT_SECRET="+accessSecret)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, guarded.close()) }()
	open, err := b.startServer(ctx, url, openToAll)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, open.close()) }()
	return withConn(ctx, url, func(conn *pgx.Conn) error {
		return errors.Join(b.compareAccess(ctx, conn, open, guarded, token), b.measureRevocation(ctx, conn, guarded, token))
	})
}

// accessDatabase makes a database with users who may read one dataset.
func (b *bench) accessDatabase(ctx context.Context) (url string, err error) {
	if url, err = b.cluster.database(ctx, "bench_access"); err != nil {
		return "", err
	}
	return url, withConn(ctx, url, func(conn *pgx.Conn) error {
		if _, err := conn.Exec(ctx, admitUsers, max(b.subscribers, b.idle/connectionsPerUser)); err != nil {
			return fmt.Errorf("make users: %w", err)
		}
		return permit(ctx, conn)
	})
}

func permit(ctx context.Context, conn *pgx.Conn) error {
	_, err := conn.Exec(ctx, permitUsers, accessDataset)
	return err
}

// tokens returns a function that makes the nth user's token.
func tokens() (token func(int) string, err error) {
	issuer, err := auth.NewIssuer(auth.Config{Secret: []byte(accessSecret)})
	if err != nil {
		return nil, err
	}
	return func(n int) string {
		text, err := issuer.Issue(auth.Grant{User: "u" + strconv.Itoa(n), TTL: 24 * time.Hour})
		if err != nil {
			panic(err) // nothing in it can be wrong
		}
		return text
	}, nil
}

// compareAccess runs the same event, wanted by all, against a server that asks
// nobody who he is and one that knows each subscriber as another user.
func (b *bench) compareAccess(ctx context.Context, conn *pgx.Conn, open, guarded *server, token func(int) string) (err error) {
	anonymous, err := b.newWatchers(ctx, "anonymous", conn, open, func(int) string { return "" })
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, anonymous.clients.close()) }()
	users, err := b.newWatchers(ctx, "users", conn, guarded, token)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, users.clients.close()) }()

	both := &feedToBoth{anonymous, users}
	var none, warm, cold series
	for round := range b.rounds {
		b.say("access, round %d of %d", round+1, b.rounds)
		one, other, err := both.run(ctx, b.apartEvents, func(ctx context.Context, n uint64) error { return insertEvent(ctx, conn, n) })
		if err != nil {
			return err
		}
		_, again, err := both.run(ctx, b.apartEvents, func(ctx context.Context, n uint64) error { return insertForgotten(ctx, conn, n) })
		if err != nil {
			return err
		}
		none, warm, cold = append(none, one), append(warm, other), append(cold, again)
	}
	asked, err := b.countQuestions(ctx, conn, both)
	if err != nil {
		return err
	}
	return b.printAccess(none, warm, cold, asked)
}

func insertEvent(ctx context.Context, conn *pgx.Conn, number uint64) error {
	_, err := conn.Exec(ctx, insertInDataset, accessDataset, number)
	return err
}

// insertForgotten has the servers ask the policy about everything again.
func insertForgotten(ctx context.Context, conn *pgx.Conn, number uint64) error {
	if _, err := conn.Exec(ctx, forgetVerdicts); err != nil {
		return err
	}
	return insertEvent(ctx, conn, number)
}

// newWatchers connects subscribers of whatever is for anybody who may read it.
func (b *bench) newWatchers(ctx context.Context, name string, conn *pgx.Conn, s *server, token func(int) string) (*fanout, error) {
	got := newSequence(b.subscribers, listRows)
	clients, err := newSwarm(ctx, s.address, b.subscribers, airlay("notification", "", token), got)
	if err != nil {
		return nil, err
	}
	clients.nap.Store(int64(apartNap))
	return &fanout{name: name, pid: s.pid(), clients: clients, received: got}, clients.awaitProbes(ctx)
}

// feedToBoth is two servers on one log: each event goes to the subscribers of
// both.
type feedToBoth struct{ one, other *fanout }

// run sends events, each when every client has the one before, and returns the
// CPU milliseconds that an event cost each server.
func (f *feedToBoth) run(ctx context.Context, count int, send func(context.Context, uint64) error) (one, other float64, err error) {
	var cpu time.Duration
	o, err := f.one.run(ctx, count, func(ctx context.Context, first uint64, count int) error {
		outcome, err := f.other.run(ctx, count, func(ctx context.Context, first uint64, count int) error {
			return f.sendApart(ctx, first, count, send)
		})
		cpu = outcome.cpu
		return err
	})
	perEvent := func(d time.Duration) float64 { return d.Seconds() * 1000 / float64(count) }
	return perEvent(o.cpu), perEvent(cpu), err
}

func (f *feedToBoth) sendApart(ctx context.Context, first uint64, count int, send func(context.Context, uint64) error) error {
	one, other := f.one.clients.events.Load(), f.other.clients.events.Load()
	return pace(ctx, count, apartInterval, func(i int) error {
		if err := send(ctx, first+uint64(i)); err != nil {
			return err
		}
		one += int64(len(f.one.clients.clients))
		other += int64(len(f.other.clients.clients))
		return errors.Join(f.one.clients.awaitEvents(ctx, one), f.other.clients.awaitEvents(ctx, other))
	})
}

// questions are how many statements of the policy an event takes.
type questions struct{ cold, warm float64 }

// countQuestions has Postgres log what it is asked, for a few events.
func (b *bench) countQuestions(ctx context.Context, conn *pgx.Conn, both *feedToBoth) (q questions, err error) {
	if err := b.configure(ctx, conn, logStatements); err != nil {
		return q, err
	}
	defer func() { err = errors.Join(err, b.configure(ctx, conn, logStatementsNot)) }()
	count := func(send func(context.Context, *pgx.Conn, uint64) error) (float64, error) {
		before, err := b.questionsAsked()
		if err != nil {
			return 0, err
		}
		_, _, err = both.run(ctx, countedEvents, func(ctx context.Context, n uint64) error { return send(ctx, conn, n) })
		if err != nil {
			return 0, err
		}
		after, err := b.questionsAsked()
		return float64(after-before) / countedEvents, err
	}
	if q.cold, err = count(insertForgotten); err != nil {
		return q, err
	}
	q.warm, err = count(insertEvent)
	return q, err
}

func (b *bench) configure(ctx context.Context, conn *pgx.Conn, change string) error {
	for _, statement := range []string{change, loadConfiguration} {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return fmt.Errorf("configure Postgres: %w", err)
		}
	}
	return nil
}

// questionsAsked counts the statements about access in Postgres' log.
func (b *bench) questionsAsked() (n int, err error) {
	text, err := os.ReadFile(b.cluster.LogFile())
	if err != nil {
		return 0, fmt.Errorf("read Postgres' log: %w", err)
	}
	for _, name := range []string{"ask", "ask_warily", "admit", "read_controls"} {
		n += strings.Count(string(text), "-- name: "+name+"\n")
	}
	return n, nil
}

func (b *bench) printAccess(anonymous, warm, cold series, q questions) error {
	t := &table{
		title: fmt.Sprintf("(e) CPU milliseconds of the server per event for %s subscribers on one wildcard, %d events (rounds: %d)",
			number(float64(b.subscribers), 0), b.apartEvents, b.rounds),
		header: []string{"", "CPU ms", "in units of anonymous", "statements about access"},
	}
	t.add("anonymous", anonymous.cell(2), "1", "0")
	t.add("each another user", warm.cell(2), warm.over(anonymous).cell(2), number(q.warm, 2))
	t.add("the same, after access_changed()", cold.cell(2), cold.over(anonymous).cell(2), number(q.cold, 2))
	t.note("airlay, attach to notification without an id; events of one dataset that all may read. Both servers follow the same log.")
	t.note("After access_changed() nothing that was known of anybody counts: its transaction comes right before each event's.")
	return t.print(b.out)
}

// measureRevocation measures how long it takes until the last of many
// subscriptions has ended whose dataset nobody may read any more.
func (b *bench) measureRevocation(ctx context.Context, conn *pgx.Conn, s *server, token func(int) string) error {
	var took series
	for round := range b.rounds {
		b.say("revocation, round %d of %d", round+1, b.rounds)
		milliseconds, err := b.revoke(ctx, conn, s, token)
		if err != nil {
			return err
		}
		took = append(took, milliseconds)
	}
	t := &table{
		title: fmt.Sprintf("(e) milliseconds from the commit of a revocation to the last of %s subscriptions told (rounds: %d)",
			number(float64(b.idle), 0), b.rounds),
		header: []string{"", "ms"},
	}
	t.add(fmt.Sprintf("%s users lose one dataset", number(float64(b.idle/connectionsPerUser), 0)), took.cell(0))
	return t.print(b.out)
}

func (b *bench) revoke(ctx context.Context, conn *pgx.Conn, s *server, token func(int) string) (milliseconds float64, err error) {
	if err := permit(ctx, conn); err != nil {
		return 0, fmt.Errorf("permit: %w", err)
	}
	of := func(i int) string { return token(i / connectionsPerUser) }
	clients, err := newSwarm(ctx, s.address, b.idle, airlay("datasetUpdate", accessDataset, of), newSequence(b.idle, 1))
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, clients.close()) }()
	if err := clients.awaitProbes(ctx); err != nil {
		return 0, err
	}
	if _, err := conn.Exec(ctx, revokeAll, accessDataset); err != nil {
		return 0, fmt.Errorf("revoke: %w", err)
	}
	committed := clock()
	if err := clients.awaitLosses(ctx); err != nil {
		return 0, err
	}
	return float64(time.Duration(clients.last.Load())-committed) / float64(time.Millisecond), nil
}
