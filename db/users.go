package db

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"example.com/notifier/notifier"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

var (
	// ErrNoUser says that notifier.users has no such user.
	ErrNoUser = errors.New("no such user")
	// ErrUserExists says that there is a user of that name already.
	ErrUserExists = errors.New("the user exists already")
)

// UserCredentials returns what is kept of a user for logging in. Without such a
// user found is false; that is no error.
func (d *DB) UserCredentials(ctx context.Context, user string) (c notifier.Credentials, found bool, err error) {
	if !storable(user) {
		return c, false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	err = d.pool.QueryRow(ctx, `-- name: user_credentials
		SELECT coalesce(password_hash, ''), roles, generation, disabled
		FROM notifier.users
		WHERE user_id = $1`, user).Scan(&c.PasswordHash, &c.Roles, &c.Generation, &c.Disabled)
	if errors.Is(err, pgx.ErrNoRows) {
		return notifier.Credentials{}, false, nil
	}
	if err != nil {
		return notifier.Credentials{}, false, fmt.Errorf("read a user's credentials: %w", err)
	}
	return c, true, nil
}

// AccountGenerations returns the generations of those users of notifier.users
// who are there and not disabled, as of one position.
func (d *DB) AccountGenerations(ctx context.Context, users []string) (generations map[string]int64, at notifier.Position, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	users = slices.DeleteFunc(slices.Clone(users), func(user string) bool { return !storable(user) })
	var found []string
	var values []int64
	var text string
	err = d.live.QueryRow(ctx, `-- name: account_generations
		SELECT coalesce(array_agg(user_id), '{}'), coalesce(array_agg(generation), '{}'), pg_current_snapshot()::text
		FROM notifier.users
		WHERE user_id = ANY ($1)
			AND NOT disabled`, users).Scan(&found, &values, &text)
	if err != nil {
		return nil, at, fmt.Errorf("read the generations of accounts: %w", err)
	}
	generations = make(map[string]int64, len(found))
	for i, user := range found {
		generations[user] = values[i]
	}
	at, err = notifier.ParsePosition(text)
	return generations, at, wrap("read the generations of accounts", err)
}

// AnyPassword reports whether there is a user who can log in.
func (d *DB) AnyPassword(ctx context.Context) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	var any bool
	err := d.pool.QueryRow(ctx, `-- name: any_password
		SELECT EXISTS (
			SELECT
			FROM notifier.users
			WHERE password_hash IS NOT NULL
				AND NOT disabled
		)`).Scan(&any)
	return any, wrap("look for a user with a password", err)
}

// CreateUser makes a user; an empty hash is no password. by says who wants that,
// "" the role that is logged in. It fails with [ErrUserExists].
func (d *DB) CreateUser(ctx context.Context, user, passwordHash string, roles []string, by string) error {
	if roles == nil {
		roles = []string{}
	}
	_, err := d.writeAs(ctx, by, `-- name: create_user
		INSERT INTO notifier.users (user_id, password_hash, roles)
		VALUES ($1, $2, $3)`, user, orNull(passwordHash), roles)
	if refused, ok := errors.AsType[*pgconn.PgError](err); ok && refused.Code == "23505" {
		return ErrUserExists
	}
	if err != nil {
		return classify("create user", err)
	}
	return nil
}

// SetPassword replaces a user's password, which ends the tokens issued to the
// user; an empty hash is no password. It fails with [ErrNoUser].
func (d *DB) SetPassword(ctx context.Context, user, passwordHash, by string) error {
	return d.updateUser(ctx, "set password", by, `-- name: set_password
		UPDATE notifier.users
		SET password_hash = $2
		WHERE user_id = $1`, user, orNull(passwordHash))
}

// SetDisabled has a user count as none, or as one again. Disabling ends the
// tokens issued to the user. It fails with [ErrNoUser].
func (d *DB) SetDisabled(ctx context.Context, user string, disabled bool, by string) error {
	return d.updateUser(ctx, "disable user", by, `-- name: set_disabled
		UPDATE notifier.users
		SET disabled = $2
		WHERE user_id = $1`, user, disabled)
}

func (d *DB) updateUser(ctx context.Context, doing, by, sql string, args ...any) error {
	tag, err := d.writeAs(ctx, by, sql, args...)
	switch {
	case err != nil:
		return classify(doing, err)
	case tag.RowsAffected() == 0:
		return fmt.Errorf("%s: %w", doing, ErrNoUser)
	}
	return nil
}

// writeAs runs a statement in a transaction whose control rows name who wanted
// it.
func (d *DB) writeAs(ctx context.Context, by, sql string, args ...any) (tag pgconn.CommandTag, err error) {
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	// In READ COMMITTED the control row carries the newest snapshot there is.
	err = pgx.BeginTxFunc(ctx, d.pool, ownTransaction, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `-- name: set_principal
			SELECT set_config('notifier.principal', $1, true)`, by); err != nil {
			return err
		}
		tag, err = tx.Exec(ctx, sql, args...)
		return err
	})
	return tag, err
}

// SigningKey returns the 32 secret bytes with which every instance signs the
// tokens that notifier itself issues.
func (d *DB) SigningKey(ctx context.Context) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	var key []byte
	err := d.pool.QueryRow(ctx, `-- name: signing_key
		SELECT secret
		FROM notifier.signing_key`).Scan(&key)
	return key, wrap("read the signing key", err)
}
