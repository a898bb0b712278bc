//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	away = "reader"
	// backlog is how many events each client is behind, in transactions of so
	// many rows.
	backlog     = 1000
	backlogRows = 5
)

// comeback is a way in which many clients come back at once.
type comeback struct {
	name  string
	hello map[string]any
	fresh bool // the server has just started
}

// measureReconnects measures how long it takes until clients are live that were
// away and come back all at once.
func (b *bench) measureReconnects(ctx context.Context) error {
	url, err := b.cluster.database(ctx, "bench_reconnects")
	if err != nil {
		return err
	}
	cursor, err := fillBacklog(ctx, url)
	if err != nil {
		return err
	}
	kinds := []comeback{
		{"by cursor, to a server that has just started", map[string]any{"access_id": away, "cursor": cursor}, true},
		{"by cursor, to a server that has the events in memory", map[string]any{"access_id": away, "cursor": cursor}, false},
		{"by time: a query for each", map[string]any{"access_id": away, "timestamp": 0}, true},
	}
	t := &table{
		title: fmt.Sprintf("(g) %s clients, each %s events behind, come back at once (rounds: %d)",
			number(float64(b.subscribers), 0), number(backlog, 0), b.rounds),
		header: []string{"", "seconds until all have all", "SQL statements", "peak memory, MiB more"},
	}
	for _, kind := range kinds {
		var took, memory series
		statements := 0
		for round := range b.rounds + 1 { // the first is logged, and counts only for that
			b.say("reconnects, %s, round %d of %d", kind.name, round, b.rounds)
			r, err := b.comeBack(ctx, url, kind, round == 0)
			if err != nil {
				return fmt.Errorf("%s: %w", kind.name, err)
			}
			if round == 0 {
				statements = r.statements
				continue
			}
			took, memory = append(took, r.took.Seconds()), append(memory, float64(r.memory)/(1<<20))
		}
		t.add(kind.name, took.cell(2), number(float64(statements), 0), memory.cell(0))
	}
	t.note("From the first connection, with its handshake, to the last event. Each client got each event once, in order.")
	return t.print(b.out)
}

// fillBacklog stores the events and returns the cursor before them.
func fillBacklog(ctx context.Context, url string) (cursor string, err error) {
	err = withConn(ctx, url, func(conn *pgx.Conn) error {
		if err := conn.QueryRow(ctx, position).Scan(&cursor); err != nil {
			return fmt.Errorf("ask for the position: %w", err)
		}
		for n := 1; n <= backlog; n += backlogRows {
			if _, err := conn.Exec(ctx, insertList, away, n, n+backlogRows-1); err != nil {
				return fmt.Errorf("insert: %w", err)
			}
		}
		return nil
	})
	return cursor, err
}

// returned is what it took.
type returned struct {
	took       time.Duration
	statements int
	memory     int64
}

func (b *bench) comeBack(ctx context.Context, url string, kind comeback, logged bool) (r returned, err error) {
	s, err := b.startServer(ctx, url, openToAll)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if !kind.fresh {
		if _, err := b.allComeBack(ctx, s.address, kind, 1); err != nil {
			return r, err
		}
	}
	if logged {
		err := withConn(ctx, url, func(conn *pgx.Conn) error { return b.configure(ctx, conn, logStatements) })
		if err != nil {
			return r, err
		}
		defer func() {
			err = errors.Join(err, withConn(ctx, url, func(conn *pgx.Conn) error { return b.configure(ctx, conn, logStatementsNot) }))
		}()
	}
	asked, err := b.statementsAsked()
	if err != nil {
		return r, err
	}
	before, err := residentMemory(s.pid())
	if err != nil {
		return r, err
	}
	if r.took, err = b.allComeBack(ctx, s.address, kind, b.subscribers); err != nil {
		return r, err
	}
	peak, err := peakMemory(s.pid())
	r.memory = peak - before
	if err == nil {
		r.statements, err = b.statementsAsked()
		r.statements -= asked
	}
	return r, err
}

// allComeBack connects clients and waits until each has every event.
func (b *bench) allComeBack(ctx context.Context, address string, kind comeback, clients int) (time.Duration, error) {
	d := dialect{
		path:  "/subscribe_to_events",
		hello: func(int) []byte { return mustJSON(kind.hello) },
		mark:  []byte(`"payload":"`),
		reply: []byte(`{"verdict":`),
		good:  []byte(`{"verdict":"replayed",`),
	}
	start := clock()
	s, err := newSwarm(ctx, address, clients, d, newSequence(clients, backlog))
	if err != nil {
		return 0, err
	}
	err = s.awaitEvents(ctx, int64(clients)*backlog)
	took := time.Duration(s.last.Load()) - start
	return took, errors.Join(err, s.close())
}

// statementsAsked counts notifier's statements in Postgres' log, but for the pulse
// of its feed.
func (b *bench) statementsAsked() (int, error) {
	text, err := os.ReadFile(b.cluster.LogFile())
	if err != nil {
		return 0, fmt.Errorf("read Postgres' log: %w", err)
	}
	return strings.Count(string(text), "-- name: ") - strings.Count(string(text), "-- name: pulse"), nil
}
