package leaktest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
)

const (
	users    = 9
	datasets = 4
)

func someDataset() string { return fmt.Sprintf("d%d", rand.IntN(datasets)) }

func userName(n int) string { return fmt.Sprintf("u%d", n) }

// schema is an application's: it forbids blocked users everything, says so by
// access_changed(), and replaces the policy function again and again.
const schema = `
CREATE SCHEMA app;
CREATE TABLE app.blocked (user_id text PRIMARY KEY);
CREATE FUNCTION app.tell() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
	PERFORM notifier.access_changed(coalesce(NEW.user_id, OLD.user_id));
	RETURN NULL;
END
$$;
CREATE TRIGGER tell AFTER INSERT OR DELETE ON app.blocked
	FOR EACH ROW EXECUTE FUNCTION app.tell();`

// policy is the function, with a further condition.
func policy(condition string) string {
	return `
CREATE OR REPLACE FUNCTION notifier.may_read(user_id text, type text, dataset_id text) RETURNS boolean
LANGUAGE sql STABLE
AS $$
	SELECT ` + condition + `
		AND NOT EXISTS (SELECT FROM app.blocked b WHERE b.user_id = may_read.user_id)
		AND (may_read.dataset_id IS NULL OR EXISTS (
			SELECT
			FROM notifier.dataset_permissions p
			WHERE p.user_id = may_read.user_id
				AND p.dataset_id = may_read.dataset_id))
$$`
}

// writers change access and publish until they are told to stop.
type writers struct {
	*ledger
	over context.Context // ends when they shall
	// whole is held by whoever changes the permissions of all at once; the
	// others share it. It orders the changes of each bit, and nothing else.
	whole sync.RWMutex
	state map[bit]bool // guarded by whole, and by being each user's own writer's
	own   sync.Mutex   // for the map itself
	named atomic.Int64
}

func (w *writers) stopped() bool { return w.over.Err() != nil }

func (w *writers) get(b bit) bool {
	w.own.Lock()
	defer w.own.Unlock()
	return w.state[b]
}

func (w *writers) set(bits map[bit]bool) {
	w.own.Lock()
	defer w.own.Unlock()
	maps.Copy(w.state, bits)
}

// loiter keeps a transaction open: the server sleeps in it.
func loiter(ctx context.Context, tx pgx.Tx, most float64) error {
	_, err := tx.Exec(ctx, `SELECT pg_sleep($1)`, rand.Float64()*most)
	return err
}

// random returns the values of a random event, or of one of a dataset.
func (w *writers) random(dataset string) []any {
	var of, to *string
	if dataset == "" && rand.IntN(8) > 0 {
		dataset = someDataset()
	}
	if dataset != "" {
		of = &dataset
	}
	if rand.IntN(3) == 0 {
		user := userName(rand.IntN(users))
		to = &user
	}
	eventType, key := []string{"a", "b"}[rand.IntN(2)], "k"
	if of != nil && to == nil && rand.IntN(3) == 0 {
		eventType, key = "datasetUpdate", *of
	}
	return []any{eventType, key, of, to, fmt.Sprintf("e%d", w.named.Add(1))}
}

const insertEvent = `
	INSERT INTO notifier.events (type, key, dataset_id, recipient, principal, payload)
	VALUES ($1, $2, $3, $4, $5, to_json($5::text))`

// publish inserts a random event, or one of a dataset.
func (w *writers) publish(ctx context.Context, tx pgx.Tx, dataset string) error {
	_, err := tx.Exec(ctx, insertEvent, w.random(dataset)...)
	return err
}

// publishAtOnce does it with a single statement, which may go on for a while.
func (w *writers) publishAtOnce(ctx context.Context, conn *pgx.Conn) error {
	pause := 0.0
	if rand.IntN(5) == 0 {
		pause = rand.Float64() * 0.03
	}
	c := &commit{}
	err := conn.QueryRow(ctx, `WITH event AS (`+insertEvent+` RETURNING txid)
		SELECT txid FROM event WHERE pg_sleep($6) IS NOT NULL`, append(w.random(""), pause)...).Scan(&c.txid)
	if err == nil {
		w.enter(c, nil)
	}
	return err
}

// sometimes has a transaction do something that decides about its place in the
// order of commits.
func sometimes(ctx context.Context, tx pgx.Tx, what string) error {
	if rand.IntN(20) > 0 {
		return nil
	}
	_, err := tx.Exec(ctx, what)
	return err
}

const (
	doorbellOff = `SET LOCAL notifier.doorbell = off`
	immediate   = `SET CONSTRAINTS ALL IMMEDIATE`
)

var errChangedMind = errors.New("rolled back on purpose")

// publishAll publishes, some of it slowly.
func (w *writers) publishAll(ctx context.Context, conn *pgx.Conn) error {
	for !w.stopped() {
		if rand.IntN(3) == 0 {
			if err := w.publishAtOnce(ctx, conn); err != nil {
				return err
			}
			continue
		}
		err := w.transact(ctx, conn, pgx.ReadCommitted, func(tx pgx.Tx) (map[bit]bool, error) {
			if err := sometimes(ctx, tx, doorbellOff); err != nil {
				return nil, err
			}
			for range 1 + rand.IntN(3) {
				if err := w.publish(ctx, tx, ""); err != nil {
					return nil, err
				}
			}
			switch rand.IntN(10) {
			case 0:
				return nil, errChangedMind
			case 1, 2:
				return nil, loiter(ctx, tx, 0.03)
			}
			return nil, nil
		})
		if err != nil && !errors.Is(err, errChangedMind) {
			return err
		}
	}
	return nil
}

// changeAccess changes what some users may read, of whom nobody else does.
func (w *writers) changeAccess(ctx context.Context, conn *pgx.Conn, mine []string) error {
	for !w.stopped() {
		if err := w.changeOnce(ctx, conn, mine); err != nil {
			return err
		}
		if _, err := conn.Exec(ctx, `SELECT pg_sleep($1)`, rand.Float64()*0.02); err != nil {
			return err
		}
	}
	return nil
}

func (w *writers) changeOnce(ctx context.Context, conn *pgx.Conn, mine []string) error {
	w.whole.RLock()
	defer w.whole.RUnlock()
	level := pgx.ReadCommitted
	if rand.IntN(5) == 0 {
		level = pgx.RepeatableRead
	}
	var sets map[bit]bool
	err := w.transact(ctx, conn, level, func(tx pgx.Tx) (map[bit]bool, error) {
		for _, what := range []string{immediate, doorbellOff} {
			if err := sometimes(ctx, tx, what); err != nil {
				return nil, err
			}
		}
		changing := &changing{tx: tx, writers: w, sets: map[bit]bool{}}
		for range 1 + max(0, rand.IntN(5)-2) {
			if err := changing.something(ctx, mine[rand.IntN(len(mine))]); err != nil {
				return nil, err
			}
		}
		sets = changing.net()
		if err := sometimes(ctx, tx, immediate); err != nil {
			return nil, err
		}
		if rand.IntN(4) == 0 {
			return sets, loiter(ctx, tx, 0.01)
		}
		return sets, nil
	})
	if err == nil {
		w.set(sets)
	}
	return err
}

// changing is a transaction that changes access.
type changing struct {
	*writers
	tx   pgx.Tx
	sets map[bit]bool
}

// net returns the bits that the transaction has not itself set back.
func (c *changing) net() map[bit]bool {
	for b, on := range c.sets {
		if on == c.get(b) {
			delete(c.sets, b)
		}
	}
	return c.sets
}

func (c *changing) now(b bit) bool {
	if on, ok := c.sets[b]; ok {
		return on
	}
	return c.get(b)
}

// flip does what sets a bit to what it is not; what takes access away is done
// less often, so that most have it most of the time.
func (c *changing) flip(ctx context.Context, b bit, on, off string, args ...any) error {
	sql, to := on, true
	if c.now(b) {
		if rand.IntN(2) == 0 {
			return nil
		}
		sql, to = off, false
	}
	if _, err := c.tx.Exec(ctx, sql, args...); err != nil {
		return fmt.Errorf("%s: %w", b, err)
	}
	c.sets[b] = to
	return nil
}

func (c *changing) something(ctx context.Context, user string) error {
	switch rand.IntN(10) {
	case 0:
		c.count("users enabled or disabled")
		return c.flip(ctx, userBit(user),
			`INSERT INTO notifier.users (user_id) VALUES ($1) ON CONFLICT (user_id) DO UPDATE SET disabled = false`,
			`UPDATE notifier.users SET disabled = true WHERE user_id = $1`, user)
	case 1:
		c.count("users made or deleted")
		return c.flip(ctx, userBit(user),
			`INSERT INTO notifier.users (user_id) VALUES ($1) ON CONFLICT (user_id) DO UPDATE SET disabled = false`,
			`DELETE FROM notifier.users WHERE user_id = $1`, user)
	case 2:
		c.count("users blocked or freed by the application")
		return c.flip(ctx, freeBit(user),
			`DELETE FROM app.blocked WHERE user_id = $1`, `INSERT INTO app.blocked VALUES ($1)`, user)
	case 3:
		return c.publish(ctx, c.tx, "")
	}
	c.count("permissions granted or revoked")
	dataset := someDataset()
	err := c.flip(ctx, permBit(user, dataset),
		`INSERT INTO notifier.dataset_permissions VALUES ($1, $2)`,
		`DELETE FROM notifier.dataset_permissions WHERE user_id = $1 AND dataset_id = $2`, user, dataset)
	if err == nil && rand.IntN(3) == 0 {
		err = c.publish(ctx, c.tx, dataset)
	}
	return err
}

// sweep takes every permission away, now and then, and gives some back.
func (w *writers) sweep(ctx context.Context, conn *pgx.Conn) error {
	for !w.stopped() {
		if _, err := conn.Exec(ctx, `SELECT pg_sleep(0.2 + 0.3 * random())`); err != nil {
			return err
		}
		if err := w.sweepOnce(ctx, conn); err != nil {
			return err
		}
	}
	return nil
}

func (w *writers) sweepOnce(ctx context.Context, conn *pgx.Conn) error {
	w.whole.Lock()
	defer w.whole.Unlock()
	w.count("tables truncated")
	sets := map[bit]bool{}
	err := w.transact(ctx, conn, pgx.ReadCommitted, func(tx pgx.Tx) (map[bit]bool, error) {
		if _, err := tx.Exec(ctx, `TRUNCATE notifier.dataset_permissions`); err != nil {
			return nil, err
		}
		back := rand.IntN(2) == 0
		for u := range users {
			for d := range datasets {
				user, dataset := userName(u), fmt.Sprintf("d%d", d)
				on := back && rand.IntN(2) == 0
				if on {
					if _, err := tx.Exec(ctx, `INSERT INTO notifier.dataset_permissions VALUES ($1, $2)`, user, dataset); err != nil {
						return nil, err
					}
				}
				if b := permBit(user, dataset); on != w.get(b) {
					sets[b] = on
				}
			}
		}
		return sets, nil
	})
	if err == nil {
		w.set(sets)
	}
	return err
}

// rule replaces the policy function: type b is closed to all, or open.
func (w *writers) rule(ctx context.Context, conn *pgx.Conn) error {
	for open := false; !w.stopped(); open = !open {
		w.count("policy functions replaced")
		err := w.transact(ctx, conn, pgx.ReadCommitted, func(tx pgx.Tx) (map[bit]bool, error) {
			condition := "may_read.type <> 'b'"
			if open {
				condition = "true"
			}
			if _, err := tx.Exec(ctx, policy(condition)); err != nil {
				return nil, err
			}
			_, err := tx.Exec(ctx, `SELECT notifier.access_changed()`)
			return map[bit]bool{typeBit("b"): open}, err
		})
		if err != nil {
			return err
		}
		if _, err := conn.Exec(ctx, `SELECT pg_sleep(0.1 + 0.2 * random())`); err != nil {
			return err
		}
	}
	return nil
}

// found makes the users, with all permissions.
func (w *writers) found(ctx context.Context, conn *pgx.Conn) error {
	if _, err := conn.Exec(ctx, schema+";"+policy("true")); err != nil {
		return err
	}
	return w.transact(ctx, conn, pgx.ReadCommitted, func(tx pgx.Tx) (map[bit]bool, error) {
		sets := map[bit]bool{}
		for _, eventType := range []string{"a", "b", "datasetUpdate"} {
			sets[typeBit(eventType)] = true
		}
		for u := range users {
			user := userName(u)
			sets[userBit(user)], sets[freeBit(user)] = true, true
			if _, err := tx.Exec(ctx, `INSERT INTO notifier.users (user_id) VALUES ($1)`, user); err != nil {
				return nil, err
			}
			for d := range datasets {
				dataset := fmt.Sprintf("d%d", d)
				sets[permBit(user, dataset)] = true
				if _, err := tx.Exec(ctx, `INSERT INTO notifier.dataset_permissions VALUES ($1, $2)`, user, dataset); err != nil {
					return nil, err
				}
			}
		}
		w.set(sets)
		return sets, nil
	})
}
