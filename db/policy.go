package db

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"example.com/notifier/notifier"
	"github.com/jackc/pgx/v5/pgconn"
)

const (
	// askTimeout bounds a statement that runs the application's functions.
	askTimeout = 10 * time.Second
	// maxQuestions bounds how many questions one statement answers.
	maxQuestions = 10_000
)

// settled makes a statement wait, before it takes its snapshot, for whoever
// truncates the tables that the default policy reads. TRUNCATE is not like other
// changes: to a snapshot from before it, the table is empty too, and if the same
// transaction fills it again, a user who has had access all the time would seem
// to have none.
const settled = `
	NOT EXISTS (
		SELECT
		FROM notifier.users, notifier.dataset_permissions
		WHERE false)`

// The snapshot is that of the statement, which the functions see too if they are
// STABLE. VOLATILE ones see a later one: the answer is then newer than is said.
const (
	ask = `-- name: ask
SELECT coalesce(array_agg(coalesce(
		notifier.user_exists(asked.user_id)
			AND notifier.may_read(asked.user_id, asked.type, asked.dataset_id),
		false) ORDER BY place), '{}'),
	pg_current_snapshot()::text
FROM unnest($1::text[], $2::text[], $3::text[])
	WITH ORDINALITY
	AS asked(user_id, type, dataset_id, place)
WHERE` + settled

	askWarily = `-- name: ask_warily
SELECT coalesce(array_agg(coalesce(
		notifier.may_read_or_no(asked.user_id, asked.type, asked.dataset_id),
		false) ORDER BY place), '{}'),
	pg_current_snapshot()::text
FROM unnest($1::text[], $2::text[], $3::text[])
	WITH ORDINALITY
	AS asked(user_id, type, dataset_id, place)
WHERE` + settled

	admit = `-- name: admit
SELECT coalesce(asked.exist, false), asked.dataset_id,
	coalesce(asked.exist AND notifier.may_read($1, $2, asked.dataset_id), false),
	pg_current_snapshot()::text
FROM (
	SELECT notifier.user_exists($1) AS exist, notifier.dataset_of($2, $3) AS dataset_id
	OFFSET 0
) AS asked
WHERE` + settled

	exists = `-- name: user_exists
SELECT coalesce(notifier.user_exists($1), false), pg_current_snapshot()::text
WHERE` + settled
)

// Ask has the application's policy answer all questions, in their order; at is
// the position the oldest answer was computed at. Users who do not exist may
// read nothing. A question whose values the policy can't make sense of (they are
// of no form that it can cast, say) is answered with no; any other error of it
// is returned, with no answer.
func (d *DB) Ask(ctx context.Context, questions []notifier.Question) (allowed []bool, at notifier.Position, err error) {
	distinct, places := distinctQuestions(questions)
	answers := make([]bool, 0, len(distinct))
	for first := true; first || len(answers) < len(distinct); first = false {
		chunk := distinct[len(answers):min(len(answers)+maxQuestions, len(distinct))]
		more, computed, err := d.askChunk(ctx, chunk)
		if err != nil {
			return nil, notifier.Position{}, err
		}
		if first { // the snapshots of later statements only see more
			at = computed
		}
		answers = append(answers, more...)
	}
	allowed = make([]bool, len(questions))
	for i, place := range places {
		allowed[i] = place >= 0 && answers[place]
	}
	return allowed, at, nil
}

// distinctQuestions returns every question once, and for each of the given ones
// its place among those; -1: the database can't hold such values, so the answer
// is no.
func distinctQuestions(questions []notifier.Question) (distinct []notifier.Question, places []int) {
	known := make(map[notifier.Question]int, len(questions))
	places = make([]int, len(questions))
	for i, q := range questions {
		place, ok := known[q]
		switch {
		case ok:
		case !storable(q.User, q.Type, q.Dataset):
			place = -1
		default:
			place = len(distinct)
			distinct = append(distinct, q)
		}
		known[q], places[i] = place, place
	}
	return distinct, places
}

// storable reports whether Postgres takes all of them as text.
func storable(texts ...string) bool {
	for _, text := range texts {
		if strings.ContainsRune(text, 0) || !utf8.ValidString(text) {
			return false
		}
	}
	return true
}

// askChunk has as many questions answered as one statement may.
func (d *DB) askChunk(ctx context.Context, questions []notifier.Question) ([]bool, notifier.Position, error) {
	answers, at, err := d.answer(ctx, ask, questions)
	if !isDataException(err) {
		return answers, at, err
	}
	d.config.Logger.Warn("the policy can't make sense of a value; questions about it are answered with no", "error", err)
	return d.answer(ctx, askWarily, questions)
}

func (d *DB) answer(ctx context.Context, sql string, questions []notifier.Question) (answers []bool, at notifier.Position, err error) {
	users, types, datasets := make([]string, len(questions)), make([]string, len(questions)), make([]*string, len(questions))
	for i, q := range questions {
		users[i], types[i] = q.User, q.Type
		if q.HasDataset {
			datasets[i] = &q.Dataset
		}
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	var text string
	if err := d.live.QueryRow(ctx, sql, users, types, datasets).Scan(&answers, &text); err != nil {
		return nil, at, fmt.Errorf("ask the policy: %w", err)
	}
	if len(answers) != len(questions) {
		return nil, at, fmt.Errorf("ask the policy: %d answers to %d questions", len(answers), len(questions))
	}
	at, err = notifier.ParsePosition(text)
	return answers, at, wrap("ask the policy", err)
}

// isDataException reports whether Postgres refused a value, not the statement.
func isDataException(err error) bool {
	refused, ok := errors.AsType[*pgconn.PgError](err)
	return ok && strings.HasPrefix(refused.Code, "22")
}

// Admit asks the policy whether a user may subscribe to the events of a type
// about an object. As with [DB.Ask], values that it can't make sense of are no
// error: there is no such user, or no access to such an object.
func (d *DB) Admit(ctx context.Context, user, eventType, key string) (notifier.Admission, error) {
	if !storable(user) {
		return notifier.Admission{}, nil // nobody can be called that
	}
	if !storable(eventType, key) {
		return d.existence(ctx, user)
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	var a notifier.Admission
	var text string
	err := d.pool.QueryRow(ctx, admit, user, eventType, key).Scan(&a.Exists, &a.Dataset, &a.MayRead, &text)
	if isDataException(err) {
		return d.existence(ctx, user)
	}
	if err != nil {
		return notifier.Admission{}, fmt.Errorf("ask the policy: %w", err)
	}
	a.At, err = notifier.ParsePosition(text)
	return a, wrap("ask the policy", err)
}

// existence tells whether there is a user, who may not read what was asked for.
func (d *DB) existence(ctx context.Context, user string) (a notifier.Admission, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	var text string
	err = d.pool.QueryRow(ctx, exists, user).Scan(&a.Exists, &text)
	if isDataException(err) {
		err = d.pool.QueryRow(ctx, `-- name: snapshot
			SELECT pg_current_snapshot()::text`).Scan(&text)
	}
	if err != nil {
		return notifier.Admission{}, fmt.Errorf("ask the policy: %w", err)
	}
	a.At, err = notifier.ParsePosition(text)
	return a, wrap("ask the policy", err)
}
