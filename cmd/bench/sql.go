//go:build linux

package main

import "fmt"

// What an application would write; see the package's documentation.
const (
	// silence turns the doorbell off as no session can notice: nothing of it
	// runs at all.
	silence = `ALTER TABLE notifier.events DISABLE TRIGGER doorbell, ALTER COLUMN rings DROP DEFAULT`

	// naiveDoorbell is what one would write at first.
	naiveDoorbell = `
CREATE FUNCTION public.naive() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
	PERFORM pg_notify('naive', NEW.id::text);
	RETURN NULL;
END
$$;
CREATE TRIGGER naive
	AFTER INSERT ON notifier.events
	FOR EACH ROW
	EXECUTE FUNCTION public.naive()`

	listenNaive = `LISTEN naive`

	// insertRow is a transaction of one row, once for pgbench and once for pgx.
	insertRowPgbench = `INSERT INTO notifier.events (type, key, recipient, payload) VALUES ('bench', 'k', :client_id, '{"n": 1}');`
	insertRow        = `INSERT INTO notifier.events (type, key, recipient, payload) VALUES ('bench', 'k', $1::text, '{"n": 1}')`

	insertBulk = `
INSERT INTO notifier.events (type, key, recipient, payload)
SELECT 'bench', 'k', (n % 32)::text, '{"n": 1}'
FROM generate_series(1, $1::int) AS n`

	// makeIssues is a table of an application, which watchIssues watches, and
	// naiveIssues tells of as one would at first.
	makeIssues = `
CREATE TABLE public.issues (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	dataset_id text NOT NULL,
	title text NOT NULL,
	comments integer NOT NULL DEFAULT 0
)`
	watchIssues = `SELECT notifier.watch_table('public.issues', event_type => 'issueUpdate', dataset => 'dataset_id')`
	naiveIssues = `
CREATE FUNCTION public.naive_issue() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
	PERFORM pg_notify('naive', json_build_object('type', 'issueUpdate', 'action', lower(TG_OP), 'payload', NEW)::text);
	RETURN NULL;
END
$$;
CREATE TRIGGER naive
	AFTER INSERT OR UPDATE ON public.issues
	FOR EACH ROW
	EXECUTE FUNCTION public.naive_issue()`

	// refillIssues makes rows of the application's, which nobody is told of.
	refillIssues = `
INSERT INTO public.issues (dataset_id, title)
SELECT 'd' || mod(n, 32), 'Gauge ' || n || ' is silent'
FROM generate_series(1, %d) AS n`

	insertIssue = `INSERT INTO public.issues (dataset_id, title) VALUES ('d1', 'Gauge 7 is silent')`
	updateIssue = `
UPDATE public.issues
SET comments = comments + 1
WHERE id = (SELECT 1 + floor(random() * %d)::bigint)`
	updateIssues = `UPDATE public.issues SET comments = comments + 1`

	countRows = `SELECT count(*) FROM notifier.events`

	// insertNumbered is one event whose payload is its number, as a JSON string
	// of numberDigits digits.
	insertNumbered = `
INSERT INTO notifier.events (type, recipient, payload)
VALUES ('message', $1::text, to_json(lpad($2::bigint::text, 14, '0')))`

	// insertList is such events from one number to another.
	insertList = `
INSERT INTO notifier.events (type, recipient, payload)
SELECT 'message', $1::text, to_json(lpad(n::text, 14, '0'))
FROM generate_series($2::bigint, $3::bigint) AS n
ORDER BY n`

	position = `SELECT notifier.position()`

	// insertInTurn is numbered events, each for the next of so many recipients.
	insertInTurn = `
INSERT INTO notifier.events (type, recipient, payload)
SELECT 'message', ((n - 1) % $3::bigint)::text, to_json(lpad(n::text, 14, '0'))
FROM generate_series($1::bigint, $2::bigint) AS n
ORDER BY n`

	// insertForEach is the same event for many recipients.
	insertForEach = `
INSERT INTO notifier.events (type, recipient, payload)
SELECT 'message', recipient, to_json(lpad($2::bigint::text, 14, '0'))
FROM unnest($1::text[]) AS recipient`

	// admitUsers makes users, permitUsers lets all of them read one dataset, and
	// revokeAll none.
	admitUsers = `
INSERT INTO notifier.users (user_id)
SELECT 'u' || n
FROM generate_series(0, $1::int - 1) AS n
ON CONFLICT DO NOTHING`
	permitUsers = `
INSERT INTO notifier.dataset_permissions (user_id, dataset_id)
SELECT user_id, $1::text
FROM notifier.users
ON CONFLICT DO NOTHING`
	revokeAll = `DELETE FROM notifier.dataset_permissions WHERE dataset_id = $1::text`

	insertUser = `INSERT INTO notifier.users (user_id, password_hash) VALUES ($1::text, $2::text)`

	// insertInDataset is one event of a dataset, for whoever may read that, with
	// its number as insertNumbered writes it.
	insertInDataset = `
INSERT INTO notifier.events (type, dataset_id, payload)
VALUES ('notification', $1::text, to_json(lpad($2::bigint::text, 14, '0')))`
	forgetVerdicts = `SELECT notifier.access_changed()`

	logStatements     = `ALTER SYSTEM SET log_statement = 'all'`
	logStatementsNot  = `ALTER SYSTEM RESET log_statement`
	loadConfiguration = `SELECT pg_reload_conf()`

	commitAtOnce  = `SET synchronous_commit = off`
	commitDurably = `RESET synchronous_commit`

	showDurability = `
SELECT string_agg(name || ' ' || setting, ', ' ORDER BY name)
FROM pg_settings
WHERE name IN ('fsync', 'synchronous_commit', 'full_page_writes')`
)

// refilledIssues makes every run begin with the same rows and an empty log. The
// triggers rest meanwhile, also those that watch.
func refilledIssues(rows int) []string {
	return append([]string{
		`SET session_replication_role = replica`,
		`TRUNCATE public.issues RESTART IDENTITY`,
		fmt.Sprintf(refillIssues, rows),
		`RESET session_replication_role`,
		`VACUUM ANALYZE public.issues`,
	}, emptyLog()...)
}

// emptyLog makes every run begin alike: an empty table, and the write-ahead
// log's full-page images due.
func emptyLog() []string {
	return []string{`TRUNCATE notifier.events`, `CHECKPOINT`}
}
