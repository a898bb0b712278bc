package db

import (
	"context"
	"errors"
	"fmt"
	"time"

	"example.com/notifier/notifier"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
)

// publish stores a list. A key of the list, or of an event, that is known
// already leaves the list, or the event, out; a transaction that is storing the
// same key just now is waited for.
const publish = `-- name: publish
WITH given AS (
	SELECT *
	FROM unnest($1::timestamptz[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[],
		$7::text[], $8::text[], $9::text[], $10::text[])
		WITH ORDINALITY
		AS given(created_at, type, action, key, recipient, dataset_id,
			principal, payload, original, event_key, place)
), list AS (
	INSERT INTO notifier.idempotency_keys (principal, key)
	SELECT $11::text, 'list ' || $12::text
	WHERE $12::text IS NOT NULL
	ON CONFLICT DO NOTHING
	RETURNING key
), wanted AS (
	SELECT *
	FROM (
		SELECT given.*, row_number() OVER (PARTITION BY event_key ORDER BY place) AS occurrence
		FROM given
	) AS numbered
	WHERE (event_key IS NULL OR occurrence = 1)
		AND ($12::text IS NULL OR EXISTS (SELECT FROM list))
), fresh AS (
	INSERT INTO notifier.idempotency_keys (principal, key)
	SELECT $11::text, 'event ' || event_key
	FROM wanted
	WHERE event_key IS NOT NULL
	ORDER BY event_key
	ON CONFLICT DO NOTHING
	RETURNING key
), stored AS (
	INSERT INTO notifier.events
		(created_at, type, action, key, recipient, dataset_id, principal, payload, original)
	SELECT coalesce(created_at, clock_timestamp()), type, action, key,
		recipient, dataset_id, principal, payload::json, original::json
	FROM wanted
	WHERE event_key IS NULL
		OR 'event ' || event_key IN (SELECT key FROM fresh)
	ORDER BY place
	RETURNING id, txid
)
SELECT
	coalesce((SELECT id FROM stored LIMIT 1), 0),
	coalesce((SELECT txid FROM stored LIMIT 1), '0'),
	set_config('idle_in_transaction_session_timeout', '5s', true)`

const publishTimeout = 60 * time.Second

// Publish stores the events in one transaction: all or, with any error but
// [notifier.ErrOutcomeUnknown], none. Errors that repeating can't help wrap
// [notifier.ErrUnstorable].
func (d *DB) Publish(ctx context.Context, p notifier.Publication) error {
	if len(p.Events) == 0 {
		return nil
	}
	if p.EventKeys != nil && len(p.EventKeys) != len(p.Events) {
		return fmt.Errorf("publish: %d keys for %d events", len(p.EventKeys), len(p.Events))
	}
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	tx, err := d.pool.BeginTx(ctx, pushTransaction)
	if err != nil {
		return fmt.Errorf("begin to publish: %w", err)
	}
	var id int64
	var txid uint64
	if err := tx.QueryRow(ctx, publish, publishArguments(p)...).Scan(&id, &txid, nil); err != nil {
		_ = tx.Rollback(ctx) // the connection is closed if that fails, which rolls back too
		return classify("publish", err)
	}
	if err := tx.Commit(ctx); err != nil {
		return d.settle(p, id, txid, err)
	}
	return nil
}

func publishArguments(p notifier.Publication) []any {
	n := len(p.Events)
	created := make([]pgtype.Timestamptz, n)
	texts := make([][]*string, 9)
	for i := range texts {
		texts[i] = make([]*string, n)
	}
	for i := range p.Events {
		e := &p.Events[i]
		created[i] = pgtype.Timestamptz{Time: e.CreatedAt, Valid: !e.CreatedAt.IsZero()} // zero: now
		row := [...]*string{
			&e.Type, &e.Action, &e.Key, e.Recipient, e.DatasetID,
			orNull(e.Principal), orNull(string(e.Payload)), orNull(string(e.Original)), nil,
		}
		if p.EventKeys != nil {
			row[8] = orNull(p.EventKeys[i])
		}
		for column, value := range row {
			texts[column][i] = value
		}
	}
	args := []any{created}
	for _, column := range texts {
		args = append(args, column)
	}
	return append(args, p.Principal, orNull(p.IdempotencyKey))
}

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// classify tells what Postgres will always refuse from what may pass.
func classify(doing string, err error) error {
	if refused, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch class := refused.Code[:2]; {
		case class == "22", class == "23", refused.Code == "54001", refused.Code == "54000":
			return fmt.Errorf("%s: %w: %s", doing, notifier.ErrUnstorable, refused.Message)
		}
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// DropUser has every instance end the connections of a user; by says who wants
// that.
func (d *DB) DropUser(ctx context.Context, user, by string) error {
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	_, err := d.pool.Exec(ctx, `-- name: drop_user
		SELECT notifier.drop_user($1, $2)`, user, by)
	if err != nil {
		return classify("drop user", err)
	}
	return nil
}
