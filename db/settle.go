package db

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"example.com/notifier/notifier"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
)

// settle finds out how a transaction ended whose COMMIT was not answered. The
// caller's context may have been what broke it, so it does not matter here.
func (d *DB) settle(p notifier.Publication, id int64, txid uint64, cause error) error {
	if refused, ok := errors.AsType[*pgconn.PgError](cause); ok && refused.SeverityUnlocalized == "ERROR" {
		return classify("commit", cause) // Postgres itself says it did not commit
	}
	ctx, cancel := context.WithTimeout(context.Background(), pulseTimeout)
	defer cancel()
	for pause := firstPause; ; pause = min(2*pause, time.Second) {
		stored, ended, err := d.outcome(ctx, p, id, txid)
		switch {
		case err == nil && stored:
			return nil
		case err == nil && ended:
			return fmt.Errorf("commit: %w", cause)
		case ctx.Err() != nil:
			return fmt.Errorf("commit: %w: %w", notifier.ErrOutcomeUnknown, cause)
		}
		wait(ctx, pause)
	}
}

// outcome asks for an event of the publication by its id and transaction. What
// it finds must also look like one: if the server has crashed, both ids may have
// been handed out again, to a stranger.
func (d *DB) outcome(ctx context.Context, p notifier.Publication, id int64, txid uint64) (stored, ended bool, err error) {
	var e notifier.Event
	var found bool
	var created pgtype.Timestamptz
	err = d.pool.QueryRow(ctx, `-- name: settle
		SELECT
			events.id IS NOT NULL,
			pg_visible_in_snapshot($2, pg_current_snapshot()),
			created_at, coalesce(type, ''), coalesce(action, ''), coalesce(key, ''),
			recipient, dataset_id, coalesce(principal, ''), payload::text, original::text
		FROM (VALUES (1)) AS always
		LEFT JOIN notifier.events ON events.id = $1 AND events.txid = $2`, id, txid).
		Scan(&found, &ended, &created, &e.Type, &e.Action, &e.Key,
			&e.Recipient, &e.DatasetID, &e.Principal, (*[]byte)(&e.Payload), (*[]byte)(&e.Original))
	e.CreatedAt = created.Time
	stored = found && slices.ContainsFunc(p.Events, func(sent notifier.Event) bool { return storedAs(&sent, &e) })
	return stored, ended || found, err
}

// storedAs tells whether an event that was sent may have become that row.
func storedAs(sent, row *notifier.Event) bool {
	return (sent.CreatedAt.IsZero() || sent.CreatedAt.UnixMicro() == row.CreatedAt.UnixMicro()) &&
		sent.Type == row.Type && sent.Action == row.Action && sent.Key == row.Key &&
		sent.Principal == row.Principal && same(sent.Recipient, row.Recipient) && same(sent.DatasetID, row.DatasetID) &&
		string(sent.Payload) == string(row.Payload) && string(sent.Original) == string(row.Original)
}

func same(a, b *string) bool {
	return a == b || a != nil && b != nil && *a == *b
}
