package db

import (
	"context"
	"errors"
	"fmt"
	"time"

	"example.com/notifier/notifier"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const (
	// traceTimeout bounds one look at what became of an event.
	traceTimeout = 15 * time.Second
	// closeTransactions is how many transactions before and after an event's are
	// looked at for changes of access, closeRows how many of their rows, and of the
	// user's own.
	closeTransactions = 2000
	closeRows         = 20_000
	// maxChanges bounds how many changes are told of.
	maxChanges = 20
)

// Trace tells what has become of an event, and whether the policy lets a user read
// it. It changes nothing; what it asks the database is bounded.
func (d *DB) Trace(ctx context.Context, user string, id int64) (notifier.Trace, error) {
	t := notifier.Trace{User: user, ID: id, Changes: []notifier.TracedChange{}}
	ctx, cancel := context.WithTimeout(ctx, traceTimeout)
	defer cancel()
	tx, err := d.pool.BeginTx(ctx, ownTransaction) // not one that only reads, in which a policy that writes would fail
	if err != nil {
		return t, fmt.Errorf("trace an event: %w", err)
	}
	defer func() { _ = tx.Rollback(ctx) }() // only the policy may have written
	if t.Row, err = d.traceRow(ctx, tx, id); err != nil {
		return t, err
	}
	if t.Row == nil {
		t.Fate, t.Writers, err = fate(ctx, tx, id)
		return t, err
	}
	t.Fate = notifier.FateStored
	if t.Row.Control != "" || !storable(user) {
		return t, nil
	}
	if t.Changes, err = traceChanges(ctx, tx, user, id, t.Row); err != nil {
		return t, err
	}
	t.Policy, err = tracePolicy(ctx, tx, user, t.Row)
	return t, err
}

// traceRow returns nil for an event that can't be seen.
func (d *DB) traceRow(ctx context.Context, tx pgx.Tx, id int64) (*notifier.TracedRow, error) {
	var r notifier.TracedRow
	// JSON has no other years.
	err := tx.QueryRow(ctx, `-- name: trace_event
		SELECT txid, least(greatest(created_at, '0001-01-02'), '9999-12-30'), coalesce(type, ''), coalesce(action, ''), coalesce(key, ''),
			recipient, dataset_id, coalesce(principal, ''), coalesce(control, ''), rings IS FALSE,
			coalesce(octet_length(payload::text), 0), coalesce(octet_length(original::text), 0),
			CASE WHEN current_setting('track_commit_timestamp')::boolean THEN pg_xact_commit_timestamp(txid::xid) END,
			(SELECT nullif(max(taken_at), '-infinity')
			FROM notifier.positions p
			WHERE NOT pg_visible_in_snapshot(e.txid, p.position)),
			(SELECT nullif(min(taken_at), '-infinity')
			FROM notifier.positions p
			WHERE pg_visible_in_snapshot(e.txid, p.position))
		FROM notifier.events e
		WHERE id = $1`, id).Scan(&r.TxID, &r.CreatedAt, &r.Type, &r.Action, &r.Key,
		&r.Recipient, &r.DatasetID, &r.Principal, &r.Control, &r.Unordered,
		&r.PayloadBytes, &r.OriginalBytes, &r.CommittedAt, &r.After, &r.Before)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	r.TooLarge = max(r.PayloadBytes, r.OriginalBytes) > d.config.MaxPayload
	return &r, wrap("trace an event", err)
}

// fate tells why an event can't be seen, as far as that can be told: Postgres keeps
// nothing of what was not committed.
func fate(ctx context.Context, tx pgx.Tx, id int64) (f notifier.Fate, writers []string, err error) {
	var below bool
	err = tx.QueryRow(ctx, `-- name: trace_absent
		SELECT coalesce($1 < (SELECT min(id) FROM notifier.events),
				EXISTS (SELECT FROM notifier.positions WHERE taken_at > '-infinity') AND NOT EXISTS (SELECT FROM notifier.events)),
			ARRAY(
				SELECT coalesce('pid ' || l.pid || coalesce(', for ' || date_trunc('second', now() - a.xact_start), ''), 'a prepared transaction')
				FROM pg_locks l
					LEFT JOIN pg_stat_activity a USING (pid)
				WHERE l.relation = 'notifier.events'::regclass
					AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
					AND l.mode = 'RowExclusiveLock'
				ORDER BY a.xact_start
				LIMIT 10)`, id).Scan(&below, &writers)
	switch {
	case err != nil:
		return "", nil, wrap("trace an event", err)
	case below:
		return notifier.FateRemoved, nil, nil
	case len(writers) > 0:
		return notifier.FateOpen, writers, nil
	}
	return notifier.FateAbsent, nil, nil
}

// traceChanges returns the changes of access that concern the user and the event: of
// those that are about the user all of late, of the others those that lie close.
func traceChanges(ctx context.Context, tx pgx.Tx, user string, id int64, r *notifier.TracedRow) ([]notifier.TracedChange, error) {
	first := max(r.TxID, closeTransactions) - closeTransactions
	rows, err := tx.Query(ctx, `-- name: trace_changes
		SELECT id, control, recipient, dataset_id, principal, created_at, seen
		FROM (
			SELECT DISTINCT c.id, c.control, c.recipient, c.dataset_id, coalesce(c.principal, '') AS principal, c.created_at,
				CASE WHEN c.txid = $3 THEN false
					WHEN c.rings IS NOT FALSE THEN pg_visible_in_snapshot($3, (c.payload ->> 'snapshot')::pg_snapshot) END AS seen,
				abs(c.id - $2) AS distance
			FROM (
				(SELECT id, txid, control, recipient, dataset_id, principal, created_at, payload::jsonb AS payload, rings
				FROM (
					SELECT *
					FROM notifier.events
					WHERE "left"(recipient, 256) = "left"($1, 256)
						AND recipient IS NOT NULL
					ORDER BY "left"(recipient, 256), created_at DESC
					LIMIT $5
				) AS own
				WHERE control LIKE 'access%'
					AND recipient = $1)
				UNION ALL
				(SELECT id, txid, control, recipient, dataset_id, principal, created_at, payload::jsonb, rings
				FROM (
					SELECT *
					FROM notifier.events
					WHERE txid >= $4
						AND txid < $6
					LIMIT $5
				) AS near
				WHERE control LIKE 'access%'
					AND (recipient IS NULL OR recipient = $1))
			) AS c
			WHERE c.dataset_id IS NULL OR c.dataset_id = $7
			ORDER BY distance
			LIMIT $8
		) AS closest
		ORDER BY id`, user, id, r.TxID, first, closeRows, r.TxID+closeTransactions, r.DatasetID, maxChanges)
	if err != nil {
		return nil, wrap("trace changes of access", err)
	}
	changes, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (c notifier.TracedChange, err error) {
		return c, row.Scan(&c.ID, &c.Control, &c.User, &c.DatasetID, &c.By, &c.CreatedAt, &c.EventFirst)
	})
	if changes == nil {
		changes = []notifier.TracedChange{}
	}
	return changes, wrap("trace changes of access", err)
}

// tracePolicy asks the policy. It must be the last statement of the transaction,
// which is lost if the policy fails.
func tracePolicy(ctx context.Context, tx pgx.Tx, user string, r *notifier.TracedRow) (*notifier.TracedPolicy, error) {
	var p notifier.TracedPolicy
	var existsSQL, mayReadSQL string
	err := tx.QueryRow(ctx, `-- name: trace_policy_sources
		SELECT pg_get_functiondef('notifier.user_exists(text)'::regprocedure),
			pg_get_functiondef('notifier.may_read(text, text, text)'::regprocedure),
			coalesce((SELECT disabled FROM notifier.users WHERE user_id = $1), false)`, user).Scan(&existsSQL, &mayReadSQL, &p.Disabled)
	if err != nil {
		return nil, fmt.Errorf("trace the policy: %w", err)
	}
	err = tx.QueryRow(ctx, `-- name: trace_policy
		SELECT coalesce(notifier.user_exists($1), false),
			coalesce(notifier.user_exists($1) AND notifier.may_read($1, $2, $3), false)`, user, r.Type, r.DatasetID).Scan(&p.Exists, &p.MayRead)
	p.Decided, p.Source = "notifier.may_read", mayReadSQL
	refused, failed := errors.AsType[*pgconn.PgError](err)
	switch {
	case failed:
		p.Error = refused.Message
	case err != nil:
		return nil, fmt.Errorf("trace the policy: %w", err)
	case !p.Exists:
		p.Decided, p.Source = "notifier.user_exists", existsSQL
	}
	return &p, nil
}
