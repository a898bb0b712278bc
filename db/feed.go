package db

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"example.com/notifier/notifier"
	"github.com/jackc/pgx/v5"
)

// Hub is what the feed brings the events to.
type Hub interface {
	// Start says where live begins.
	Start(b notifier.Beginning)
	// Continue says that the log goes on in another history, with nothing lost.
	Continue(history notifier.History)
	// Publish takes the next page. It must not wait for clients, and fails only
	// if the context ends.
	Publish(ctx context.Context, p notifier.Page) error
}

const (
	// pulseTimeout bounds the statements that must be quick; a connection that
	// is dead without having said so is found by them.
	pulseTimeout = 10 * time.Second
	// readTimeout bounds reading one page, listTimeout going through a batch of
	// any size.
	readTimeout = 5 * time.Minute
	listTimeout = time.Hour

	firstRetry = 50 * time.Millisecond
	lastRetry  = 5 * time.Second
)

var errNotStarted = errors.New("not connected to the log yet")

// feedState is what Ready reports.
type feedState struct{ problem error }

// Ready returns nil while the feed follows the log, else why it does not.
func (d *DB) Ready() error { return d.state.Load().problem }

// Feed reads the log into the hub until the context ends, and then returns nil.
// If it can't connect the first time it returns the error; later it reconnects
// for ever, and goes on where it was.
func (d *DB) Feed(ctx context.Context, hub Hub) error {
	f := &feed{db: d, hub: hub}
	retry := firstRetry
	for {
		err := f.follow(ctx)
		if ctx.Err() != nil {
			d.state.Store(&feedState{problem: context.Cause(ctx)})
			return nil
		}
		d.state.Store(&feedState{problem: err})
		if !f.started {
			return err
		}
		if f.followed {
			retry = firstRetry
		}
		d.counters.reconnects.Add(1)
		d.config.Logger.Warn("log connection lost, reconnecting", "error", err, "in", retry)
		wait(ctx, retry/2+rand.N(retry)) //nolint:gosec // jitter
		retry = min(2*retry, lastRetry)
	}
}

func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// feed is the state of [DB.Feed] that outlives a connection.
type feed struct {
	db      *DB
	hub     Hub
	started bool
	at      progress
	// identity is that of the log it reads, checked at that time; recent is what
	// it has read of it.
	identity identity
	checked  time.Time
	recent   recent
	clock    clock
	// followed says whether the latest connection got as far as to follow the log.
	followed bool
}

// follow connects and reads until something fails.
func (f *feed) follow(ctx context.Context) error {
	f.followed = false
	conn, err := f.db.openFeedSession(ctx)
	if err != nil {
		return err
	}
	defer closeConn(conn)
	if err := f.listen(ctx, conn); err != nil {
		return err
	}
	r := &reader{db: f.db, conn: conn}
	if err := f.begin(ctx, r); err != nil {
		return err
	}
	bell := &bell{conn: conn, pace: newPace(f.db.config.PollInterval), counters: &f.db.counters, listens: !f.db.config.PollOnly}
	for {
		began := time.Now()
		found, tailFree, err := f.read(ctx, r)
		if err != nil {
			return err
		}
		f.followed = true
		f.db.state.Store(&feedState{})
		if found >= crowd {
			wait(ctx, breather-time.Since(began))
		}
		if err := bell.wait(ctx, found > 0, tailFree); err != nil {
			return err
		}
	}
}

// listen comes before the first read, so that no ring falls between the two.
func (f *feed) listen(ctx context.Context, conn *pgx.Conn) error {
	if f.db.config.PollOnly {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, pulseTimeout)
	defer cancel()
	_, err := conn.Exec(ctx, "-- name: listen\nLISTEN notifier")
	return wrap("listen", err)
}

// begin takes a position, the first time, or checks that the server's history
// still reaches to the one it has.
func (f *feed) begin(ctx context.Context, r *reader) error {
	if err := f.db.adopt(ctx, r.conn); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	id, err := readIdentity(ctx, r.conn)
	if err != nil {
		return err
	}
	f.checked = time.Now()
	if f.started {
		goesOn, err := f.resume(ctx, r.conn, id)
		if err != nil || goesOn {
			return err
		}
	}
	b, err := beginning(ctx, r.conn)
	if err != nil {
		return err
	}
	f.at, f.clock = startAt(b.Position), clock{}
	f.recent = recent{}
	f.recent.add(b.Anchor)
	f.identity = id
	f.hub.Start(b)
	f.db.history.Store(&b.History)
	f.started = true
	return nil
}

// resume goes on where the last connection was, if nothing is lost of what was
// read: neither by a crash, nor by a failover, nor because it is another log.
func (f *feed) resume(ctx context.Context, conn *pgx.Conn, id identity) (bool, error) {
	logger := f.db.config.Logger
	if !id.sameLog(f.identity) {
		logger.Error("the log is another one now, restored perhaps; following it from now on")
		return false, nil
	}
	now, err := snapshot(ctx, conn)
	if err != nil {
		return false, err
	}
	missing, err := f.recent.missing(ctx, conn)
	if err != nil {
		return false, err
	}
	if missing > 0 || now.Xmax() <= f.at.largest {
		logger.Error("the database has lost transactions that were read already; following it from now on",
			"events", missing, "read", f.at.largest, "next", now.Xmax())
		return false, nil
	}
	if id.history != f.identity.history {
		if err := recordContinuation(ctx, conn, f.identity.history, f.at.point.From); err != nil {
			return false, err
		}
		logger.Warn("the database was failed over; nothing that was read is lost", "timeline", id.timeline)
		f.identity = id
		f.hub.Continue(id.history)
		f.db.history.Store(&id.history)
	}
	// What a batch that is half read ends with may be lost after a crash, and its
	// ids in use again.
	f.at.point.To = f.at.point.To.Meet(now)
	return true, nil
}

// read takes what has been committed since the last time to the hub. found is
// the number of events, tailFree says whether at its beginning nobody was about
// to commit silently.
func (f *feed) read(ctx context.Context, r *reader) (found int, tailFree bool, err error) {
	publish := func(p notifier.Page) error {
		found += len(p.Events)
		f.db.counters.eventsRead.Add(int64(len(p.Events)))
		p.Clock = f.clock.of
		for _, e := range p.Events {
			f.recent.add(notifier.AnchorOf(e))
		}
		return f.hub.Publish(ctx, p)
	}
	if f.at.point.After > 0 { // the connection broke inside a batch
		if err := r.batch(ctx, &f.at, publish); err != nil {
			return found, false, err
		}
		f.clock.turn()
	}
	tailFree, to, err := f.pulse(ctx, r.conn)
	if err != nil {
		return found, false, err
	}
	f.at.point.To = to
	if err = r.batch(ctx, &f.at, publish); err == nil {
		f.clock.turn()
	}
	return found, tailFree, err
}

const (
	pulseSQL = `-- name: pulse
		BEGIN; SELECT notifier.try_tail(); COMMIT; SELECT pg_current_snapshot(), ` + clockNow
	pulseHistorySQL = pulseSQL + `, (notifier.identity()).history`

	// checkEvery is how often a pulse asks whether it is the same log still: a
	// pooler may have gone to another server, or the tables be restored, without
	// a word.
	checkEvery = time.Second
)

// errOtherLog ends a connection; the next one finds out what has happened.
var errOtherLog = errors.New("it is not the same log any more")

// pulse tries the tail lock and then, in a later transaction, takes a snapshot:
// whoever committed silently after the lock was tried has rung again or is in
// the snapshot. Both in one round trip.
func (f *feed) pulse(ctx context.Context, conn *pgx.Conn) (tailFree bool, to notifier.Position, err error) {
	ctx, cancel := context.WithTimeout(ctx, pulseTimeout)
	defer cancel()
	sql, check := pulseSQL, time.Since(f.checked) >= checkEvery
	if check {
		sql = pulseHistorySQL
	}
	results, err := conn.PgConn().Exec(ctx, sql).ReadAll()
	if err != nil {
		return false, to, fmt.Errorf("take the pulse: %w", err)
	}
	if len(results) != 4 || len(results[1].Rows) != 1 || len(results[3].Rows) != 1 {
		return false, to, errors.New("take the pulse: unexpected answer")
	}
	answer := results[3].Rows[0]
	if to, err = notifier.ParsePosition(string(answer[0])); err != nil {
		return false, to, err
	}
	if check {
		f.checked = time.Now()
	}
	if check && string(answer[2]) != fmt.Sprintf(`\x%x`, f.identity.history) || to.Xmax() <= f.at.largest {
		return false, to, errOtherLog
	}
	return string(results[1].Rows[0][0]) == "t", to, f.clock.read(answer[1])
}

// closeConn says goodbye if that can be done at once; the context of the work
// has usually ended by now.
func closeConn(conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = conn.Close(ctx) // it is being given up either way
}
