package tracker

import (
	"context"
	_ "embed"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

//go:embed schema.sql
var schema string

// Migrate makes the application's tables in a database with notifier's schema.
func Migrate(ctx context.Context, url string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	_, err = conn.Exec(ctx, schema)
	return err
}

// Tracker keeps issues.
type Tracker struct{ pool *pgxpool.Pool }

// Open connects to the database; Close gives the connections back.
func Open(ctx context.Context, url string) (*Tracker, error) {
	pool, err := pgxpool.New(ctx, url)
	if err != nil {
		return nil, fmt.Errorf("open pool: %w", err)
	}
	return &Tracker{pool}, nil
}

// Close waits for connections in use.
func (t *Tracker) Close() { t.pool.Close() }

// Join makes somebody a member of a project.
func (t *Tracker) Join(ctx context.Context, person, project string) error {
	return pgx.BeginFunc(ctx, t.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `INSERT INTO people VALUES ($1) ON CONFLICT DO NOTHING`, person); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `INSERT INTO members (person, project) VALUES ($1, $2)`, person, project)
		return err
	})
}

// Leave ends that.
func (t *Tracker) Leave(ctx context.Context, person, project string) error {
	_, err := t.pool.Exec(ctx, `DELETE FROM members WHERE person = $1 AND project = $2`, person, project)
	return err
}

// Add makes an issue and returns its number.
func (t *Tracker) Add(ctx context.Context, project, title string) (id int64, err error) {
	err = t.pool.QueryRow(ctx, `INSERT INTO issues (project, title) VALUES ($1, $2) RETURNING id`, project, title).Scan(&id)
	return id, err
}

// Assign gives an issue to somebody.
func (t *Tracker) Assign(ctx context.Context, id int64, person string) error {
	_, err := t.pool.Exec(ctx, `UPDATE issues SET assignee = $2 WHERE id = $1`, id, person)
	return err
}

// Finish closes all issues of a project, or none.
func (t *Tracker) Finish(ctx context.Context, project string) error {
	_, err := t.pool.Exec(ctx, `UPDATE issues SET done = true WHERE project = $1 AND NOT done`, project)
	return err
}
