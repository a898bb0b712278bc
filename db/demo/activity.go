package demo

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
)

// Activity has something happen in the demo's tables, one thing after the
// other. It works on rows of its own, of which it keeps so many; what it does to
// datasets are numbers.
type Activity struct {
	URL   string        // of the database
	Every time.Duration // from one thing to the next; above 0
	// Logger is told when nothing can happen, and when something can again.
	Logger *slog.Logger
}

// acts are what can happen; some more often. Each is a transaction. Where the
// row that it needs is missing, nothing happens: others come first.
var acts = []string{
	openIssue, openIssue,
	comment, comment, comment,
	moveIssue, moveIssue,
	assignIssue,
	changeDataset,
	beginUpload,
	goOnUploading, goOnUploading, goOnUploading,
}

// Run goes on until ctx ends. Without a database it tries again in its own
// time: things are not made up for.
func (a Activity) Run(ctx context.Context) error {
	var conn *pgx.Conn
	defer func() {
		if conn != nil {
			conn.Close(context.WithoutCancel(ctx))
		}
	}()
	tick := time.NewTicker(a.Every)
	defer tick.Stop()
	failing := false
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		err := a.act(ctx, &conn)
		if ctx.Err() != nil {
			return nil
		}
		if (err != nil) != failing {
			if failing = err != nil; failing {
				a.Logger.Warn("no activity in the demo", "error", err)
			} else {
				a.Logger.Info("activity in the demo again")
			}
		}
	}
}

// act does one thing, on a new connection if there is none that works.
func (a Activity) act(ctx context.Context, conn **pgx.Conn) (err error) {
	if *conn == nil || (*conn).IsClosed() {
		if *conn, err = pgx.Connect(ctx, a.URL); err != nil {
			return err
		}
	}
	_, err = (*conn).Exec(ctx, acts[rand.IntN(len(acts))])
	return err
}

// What is of the generator's making is known by who has made it.
const (
	openIssue = `-- name: demo_open_issue
INSERT INTO demo.issues (dataset_id, title, reporter, assignee)
SELECT d.id,
  (ARRAY['Values out of range', 'Gap of an hour', 'Clock is off', 'Station has moved', 'Unit is unclear'])[1 + floor(random() * 5)::integer],
  'activity',
  (SELECT m.user_id FROM demo.members AS m WHERE m.project_id = d.project_id ORDER BY random() LIMIT 1)
FROM demo.datasets AS d
ORDER BY random()
LIMIT 1;
DELETE FROM demo.issues
WHERE id IN (SELECT id FROM demo.issues WHERE reporter = 'activity' ORDER BY id DESC OFFSET 50)`

	comment = `-- name: demo_comment
UPDATE demo.issues
SET comments = comments + 1
WHERE id = (SELECT id FROM demo.issues WHERE reporter = 'activity' AND status <> 'closed' ORDER BY random() LIMIT 1)`

	moveIssue = `-- name: demo_move_issue
UPDATE demo.issues
SET status = CASE status WHEN 'open' THEN 'doing' ELSE 'closed' END
WHERE id = (SELECT id FROM demo.issues WHERE reporter = 'activity' AND status <> 'closed' ORDER BY random() LIMIT 1)`

	assignIssue = `-- name: demo_assign_issue
UPDATE demo.issues AS i
SET assignee = (
  SELECT m.user_id
  FROM demo.members AS m
  JOIN demo.datasets AS d ON d.project_id = m.project_id
  WHERE d.id = i.dataset_id
  ORDER BY random()
  LIMIT 1)
WHERE id = (SELECT id FROM demo.issues WHERE reporter = 'activity' AND status = 'open' ORDER BY random() LIMIT 1)`

	changeDataset = `-- name: demo_change_dataset
UPDATE demo.datasets
SET records = (records + 1 + floor(random() * 100)::bigint) % 1000000,
  status = CASE WHEN random() < 0.1 THEN 'draft' ELSE 'ready' END
WHERE id = (SELECT id FROM demo.datasets ORDER BY random() LIMIT 1)`

	beginUpload = `-- name: demo_begin_upload
INSERT INTO demo.uploads (dataset_id, file, uploader, bytes)
SELECT d.id, to_char(now(), 'YYYY-MM-DD-HH24MISS') || '.csv', 'activity', 10000 + floor(random() * 90000)::bigint
FROM demo.datasets AS d
ORDER BY random()
LIMIT 1;
DELETE FROM demo.uploads
WHERE id IN (SELECT id FROM demo.uploads WHERE uploader = 'activity' ORDER BY id DESC OFFSET 20)`

	goOnUploading = `-- name: demo_go_on_uploading
UPDATE demo.uploads
SET received = LEAST(bytes, received + 20000)
WHERE id = (SELECT id FROM demo.uploads WHERE uploader = 'activity' AND received < bytes ORDER BY id LIMIT 1)`
)
