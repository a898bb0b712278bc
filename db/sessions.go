package db

import (
	"context"
	"errors"
	"fmt"
	"time"

	"example.com/notifier/notifier"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// ExtendSession notes that who has logged in to an account has got a token with
// that end. One that ends earlier than another, or is of an older generation,
// changes nothing.
func (d *DB) ExtendSession(ctx context.Context, account notifier.Account, until time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	_, err := d.pool.Exec(ctx, `-- name: extend_session
		INSERT INTO notifier.sessions AS s (user_id, generation, expires_at)
		VALUES ($1, $2, $3)
		ON CONFLICT (user_id) DO UPDATE
		SET generation = excluded.generation, expires_at = excluded.expires_at
		WHERE (s.generation, s.expires_at) < (excluded.generation, excluded.expires_at)`,
		account.User, account.Generation, until)
	return wrap("extend a session", err)
}

// SessionEnd returns when the last token ends that was given to who has logged
// in to an account; the zero time if there is none, or the account is not what
// it was.
func (d *DB) SessionEnd(ctx context.Context, account notifier.Account) (until time.Time, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	err = d.pool.QueryRow(ctx, `-- name: session_end
		SELECT s.expires_at
		FROM notifier.sessions s
			JOIN notifier.users u USING (user_id, generation)
		WHERE user_id = $1
			AND generation = $2
			AND NOT u.disabled`, account.User, account.Generation).Scan(&until)
	if errors.Is(err, pgx.ErrNoRows) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("read the end of a session: %w", err)
	}
	return until, nil
}

// forgetSessions deletes the rows of sessions that ended an hour ago, by the
// clock of any instance. There is one a user, at the most.
func forgetSessions(ctx context.Context, conn *pgxpool.Conn) error {
	_, err := conn.Exec(ctx, `-- name: forget_sessions
		DELETE FROM notifier.sessions
		WHERE expires_at < now() - interval '1 hour'`)
	return wrap("forget sessions", err)
}
