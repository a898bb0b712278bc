package doctor

import (
	"context"
	"flag"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/notifier/db/dbtest"
	"example.com/notifier/migrations"
	"example.com/notifier/notifier"
	"github.com/jackc/pgx/v5"
)

var update = flag.Bool("update", false, "write schema.txt anew")

// TestSchema_IsAsDescribed compares the description with what the migrations make.
// After a new one: go test ./db/doctor -run IsAsDescribed -update.
func TestSchema_IsAsDescribed(t *testing.T) {
	t.Parallel()
	e := &examination{conn: dbtest.Connect(t, dbtest.New(t))}
	lines, err := e.texts(t.Context(), describe)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Join(lines, "\n") + "\n"
	if *update {
		if err := os.WriteFile("schema.txt", []byte(text), 0o644); err != nil { //nolint:gosec // it is a source file
			t.Fatal(err)
		}
		return
	}
	if text != expected {
		t.Error("schema.txt is not what the migrations make: go test ./db/doctor -run IsAsDescribed -update")
	}
}

// patient is a database with a fault to be found.
type patient struct {
	t    *testing.T
	url  string
	conn *pgx.Conn
}

func newPatient(t *testing.T) *patient {
	t.Helper()
	at := dbtest.New(t)
	return &patient{t, at, dbtest.Connect(t, at)}
}

func (p *patient) exec(sql string, args ...any) {
	p.t.Helper()
	if _, err := p.conn.Exec(p.t.Context(), sql, args...); err != nil {
		p.t.Fatalf("%s: %v", sql, err)
	}
}

// examine returns what is not ok, by name.
func (p *patient) examine(adjust ...func(*Config)) map[string]notifier.Finding {
	p.t.Helper()
	c := Config{URL: p.url, Required: migrations.Required()}.withDefaults()
	// Other tests' databases are on the same server, whose transactions and locks are none of ours.
	c.limits.transaction = time.Hour
	for _, change := range adjust {
		change(&c)
	}
	wrong := map[string]notifier.Finding{}
	for _, f := range Examine(p.t.Context(), c) {
		if f.Found == "" || (f.Advice == "") != (f.Status == notifier.OK) {
			p.t.Errorf("%+v", f)
		}
		if f.Status != notifier.OK {
			wrong[f.Name] = f
		}
	}
	return wrong
}

// finds wants this one fault to be found, and nothing else.
func (p *patient) finds(name string, status notifier.Severity, text string, adjust ...func(*Config)) {
	p.t.Helper()
	wrong := p.examine(adjust...)
	if f := wrong[name]; f.Status != status || !strings.Contains(f.Found, text) {
		p.t.Errorf("%s: %+v, want %s, %q", name, f, status, text)
	}
	delete(wrong, name)
	if len(wrong) > 0 {
		p.t.Errorf("found besides %s: %+v", name, wrong)
	}
}

func TestExamine_NothingIsWrong(t *testing.T) {
	t.Parallel()
	p := newPatient(t)
	if wrong := p.examine(); len(wrong) > 0 {
		t.Errorf("%+v", wrong)
	}
	p.exec(`INSERT INTO notifier.users (user_id) VALUES ('u')`)
	p.exec(`INSERT INTO notifier.events (type, dataset_id) VALUES ('t', 'd')`)
	p.exec(`CREATE FUNCTION notifier.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'`)
	p.exec(`CREATE OR REPLACE FUNCTION notifier.user_exists(user_id text) RETURNS boolean LANGUAGE sql STABLE AS 'SELECT true'`)
	if wrong := p.examine(); len(wrong) > 0 {
		t.Errorf("with some events, and functions of the application's: %+v", wrong)
	}
	p.exec(`CREATE TABLE public.asked (user_id text)`)
	p.exec(`GRANT INSERT ON public.asked TO notifier_server`)
	p.exec(`CREATE OR REPLACE FUNCTION notifier.user_exists(user_id text) RETURNS boolean LANGUAGE sql AS 'INSERT INTO public.asked VALUES (user_id) RETURNING true'`)
	if wrong := p.examine(); len(wrong) > 0 {
		t.Errorf("with a policy that writes: %+v", wrong)
	}
	var asked int
	if err := p.conn.QueryRow(t.Context(), `SELECT count(*) FROM public.asked`).Scan(&asked); err != nil || asked > 0 {
		t.Errorf("%d were written, %v", asked, err)
	}
}

func TestExamine_FindsFaultsOfTheSchema(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fault  []string
		check  string
		status notifier.Severity
		text   string
	}{
		"disabled doorbell": {[]string{`ALTER TABLE notifier.events DISABLE TRIGGER doorbell`}, "triggers", notifier.Failure, "disabled: doorbell on events"},
		"disabled trigger of access": {
			[]string{`ALTER TABLE notifier.dataset_permissions DISABLE TRIGGER access_lost_by_delete`},
			"triggers", notifier.Failure, "disabled: access_lost_by_delete on dataset_permissions",
		},
		"restored with --disable-triggers": {
			[]string{`ALTER TABLE notifier.users DISABLE TRIGGER ALL`, `ALTER TABLE notifier.users ENABLE TRIGGER ALL`},
			"triggers", notifier.Warning, "access_lost_by_truncate on users",
		},
		"trigger gone":  {[]string{`DROP TRIGGER arrival ON notifier.events`}, "triggers", notifier.Failure, "missing: arrival on events"},
		"index gone":    {[]string{`DROP INDEX notifier.events_txid`}, "schema drift", notifier.Failure, "index events_txid on events"},
		"grant gone":    {[]string{`REVOKE SELECT ON notifier.signing_key FROM notifier_server`}, "schema drift", notifier.Failure, "grant SELECT on table signing_key to notifier_server"},
		"open to all":   {[]string{`GRANT EXECUTE ON FUNCTION notifier.drop_user TO PUBLIC`}, "schema drift", notifier.Warning, "drop_user"},
		"readable":      {[]string{`GRANT SELECT ON notifier.events TO PUBLIC`}, "schema drift", notifier.Warning, "table events to PUBLIC"},
		"other body":    {[]string{`CREATE OR REPLACE FUNCTION notifier.try_tail() RETURNS boolean LANGUAGE sql AS 'SELECT true'`}, "schema drift", notifier.Failure, "function try_tail()"},
		"column gone":   {[]string{`ALTER TABLE notifier.events DROP COLUMN principal CASCADE`}, "schema drift", notifier.Failure, "column principal of events: text"},
		"owner changed": {[]string{`ALTER FUNCTION notifier.drop_user OWNER TO notifier_publisher`}, "owner of functions", notifier.Failure, "belongs to notifier_publisher"},
		"old schema":    {[]string{`UPDATE notifier.goose_db_version SET is_applied = false WHERE version_id = (SELECT max(version_id) FROM notifier.goose_db_version)`}, "schema version", notifier.Failure, "needs"},
		"policy fails": {
			[]string{`CREATE TABLE public.secret (id text)`, `CREATE OR REPLACE FUNCTION notifier.user_exists(user_id text) RETURNS boolean
				LANGUAGE sql STABLE AS 'SELECT EXISTS (SELECT FROM public.secret s WHERE s.id = user_exists.user_id)'`},
			"policy functions", notifier.Failure, "permission denied for table secret",
		},
		"policy without an index": {
			[]string{`CREATE TABLE public.members AS SELECT 'u' || i AS name, 'd' || i AS dataset FROM generate_series(1, 20000) i`, `ANALYZE public.members`,
				`GRANT SELECT ON public.members TO notifier_server`,
				`CREATE OR REPLACE FUNCTION notifier.may_read(user_id text, type text, dataset_id text) RETURNS boolean LANGUAGE plpgsql STABLE AS
				'BEGIN RETURN EXISTS (SELECT FROM public.members m WHERE m.name = may_read.user_id AND m.dataset = may_read.dataset_id); END'`},
			"policy functions", notifier.Warning, "members",
		},
		"policy too slow": {
			[]string{`CREATE OR REPLACE FUNCTION notifier.user_exists(user_id text) RETURNS boolean LANGUAGE sql STABLE AS 'SELECT true FROM pg_catalog.pg_sleep(60)'`},
			"policy functions", notifier.Failure, "more than 5s",
		},
		"nothing vacuumed": {[]string{`ALTER TABLE notifier.events SET (autovacuum_enabled = off)`}, "vacuum", notifier.Warning, "autovacuum is off"},
		"no positions": {
			[]string{`INSERT INTO notifier.instances (id, name, version, started_at, feed) VALUES (gen_random_uuid(), 'n', 'v', now() - interval '1 hour', 'listening')`},
			"retention", notifier.Warning, "none has recorded a position",
		},
		"old events": {
			[]string{
				`INSERT INTO notifier.instances (id, name, version, started_at, feed) VALUES (gen_random_uuid(), 'n', 'v', now() - interval '1 hour', 'listening')`,
				`INSERT INTO notifier.positions (taken_at, position) SELECT now() - d * interval '1 day', pg_current_snapshot() FROM generate_series(0, 20) d`,
			},
			"retention", notifier.Warning, "should have been removed",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPatient(t)
			for _, sql := range c.fault {
				p.exec(sql)
			}
			p.finds(c.check, c.status, c.text)
		})
	}
}

func TestExamine_WithoutASchema(t *testing.T) {
	t.Parallel()
	at := dbtest.Empty(t)
	p := &patient{t, at, dbtest.Connect(t, at)}
	got := p.examine()
	if f := got["schema version"]; f.Status != notifier.Failure || !strings.Contains(f.Advice, "notifier migrate up") {
		t.Errorf("%+v", got)
	}
}

func TestExamine_Unreachable(t *testing.T) {
	t.Parallel()
	p := &patient{t: t, url: "postgres://u:hunter2@127.0.0.1:1/d"}
	got := Examine(t.Context(), Config{URL: p.url})
	if len(got) == 0 || got[0].Status != notifier.Failure {
		t.Fatalf("%+v", got)
	}
	for _, f := range got {
		if strings.Contains(f.Found, "hunter2") {
			t.Errorf("tells a password: %+v", f)
		}
	}
}

func TestExamine_SkewedClock(t *testing.T) {
	t.Parallel()
	p := newPatient(t)
	for by, status := range map[time.Duration]notifier.Severity{5 * time.Second: notifier.Warning, -time.Hour: notifier.Failure} {
		p.finds("clock", status, "ahead of this machine's", func(c *Config) {
			c.Now = func() time.Time { return time.Now().Add(by) }
		})
	}
}

// A session that listens and does not come out of a transaction keeps what is sent.
func TestExamine_FullQueue(t *testing.T) {
	t.Parallel()
	p := &patient{t: t, url: dbtest.NewCluster(t).URL("")} // the queue is the whole cluster's
	p.conn = dbtest.Connect(t, p.url)
	deaf := dbtest.Connect(t, p.url+"&application_name=deaf")
	for _, sql := range []string{"LISTEN something", "BEGIN"} {
		if _, err := deaf.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	dbtest.Eventually(t, "the transaction is older than a second", func() bool {
		var old bool
		err := p.conn.QueryRow(t.Context(), `SELECT bool_or(now() - xact_start > interval '1.1 s') FROM pg_stat_activity WHERE application_name = 'deaf'`).Scan(&old)
		return err == nil && old
	})
	p.exec(`SELECT pg_notify('something', repeat('x', 7000) || n) FROM generate_series(1, 2000) AS n`)
	p.finds("notification queue", notifier.Warning, "(deaf), in a transaction for", func(c *Config) { c.limits.queue = .0005 })
}

func TestExamine_LongTransactions(t *testing.T) {
	t.Parallel()
	p := &patient{t: t, url: dbtest.NewCluster(t).URL("")}
	p.conn = dbtest.Connect(t, p.url)
	p.exec(`BEGIN`)
	p.exec(`CREATE TABLE t ()`)
	p.exec(`PREPARE TRANSACTION 'forgotten'`)
	p.exec(`BEGIN`)
	p.exec(`SELECT 1`)
	wait, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	<-wait.Done()
	lower := func(c *Config) { c.limits.transaction = 40 * time.Millisecond }
	p.finds("transactions", notifier.Warning, "prepared transaction forgotten", lower)
	p.finds("transactions", notifier.Warning, "pid ", lower)
	p.exec(`ROLLBACK`)
	p.exec(`ROLLBACK PREPARED 'forgotten'`)
}

func TestExamine_NoRoom(t *testing.T) {
	t.Parallel()
	p := newPatient(t)
	p.finds("connections", notifier.Warning, "a server opens up to 100000", func(c *Config) { c.Connections = 100_000 })
	p.exec(`SELECT pg_advisory_lock(1)`)
	p.finds("locks", notifier.Warning, "are held", func(c *Config) { c.limits.freeForLocks = 1e-9 })
	p.exec(`CREATE ROLE doctor_test_outsider LOGIN PASSWORD 'x'`)
	t.Cleanup(func() { _, _ = p.conn.Exec(context.Background(), `DROP ROLE doctor_test_outsider`) })
	got := p.examine(func(c *Config) {
		u, err := url.Parse(p.url)
		if err != nil {
			t.Fatal(err)
		}
		u.User = url.UserPassword("doctor_test_outsider", "x")
		c.URL = u.String()
		c.ListenURL = c.URL
	})
	if f := got["roles"]; f.Status != notifier.Failure || !strings.Contains(f.Found, "doctor_test_outsider is no member of notifier_server") {
		t.Errorf("%+v", got)
	}
}

// The connections of others are seen to be there, whatever else the role may see.
func TestExamine_NoRoomForOthers(t *testing.T) {
	t.Parallel()
	at := dbtest.NewCluster(t, dbtest.Settings(map[string]string{"max_connections": "20"})).URL("")
	p := &patient{t: t, url: at, conn: dbtest.Connect(t, at)}
	p.exec(`CREATE ROLE plain LOGIN PASSWORD 'x'`)
	p.exec(`GRANT notifier_server TO plain`)
	for range 9 {
		dbtest.Connect(t, at)
	}
	u, err := url.Parse(at)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword("plain", "x")
	p.url = u.String()
	if wrong := p.examine(func(c *Config) { c.Connections = 5 }); len(wrong) > 0 {
		t.Errorf("%+v", wrong)
	}
	p.finds("connections", notifier.Warning, "are free, a server opens up to 10", func(c *Config) { c.Connections = 10 })
}

// Every check has a name of its own: by it an operator tells them apart.
func TestChecks_Names(t *testing.T) {
	t.Parallel()
	var names []string
	for _, c := range slices.Concat(connecting, serverChecks, schemaChecks) {
		if slices.Contains(names, c.name) {
			t.Errorf("there are two of %s", c.name)
		}
		names = append(names, c.name)
	}
}

func TestExamine_Pooler(t *testing.T) {
	t.Parallel()
	p := newPatient(t)
	direct := p.url
	for _, sessions := range []int{1, 5} { // one: the second connection is in the first one's session
		p.url = dbtest.Pooler(t, direct, sessions) + "&default_query_exec_mode=exec"
		p.finds("pooler", notifier.Failure, "LISTEN does not get through")
		for name, adjust := range map[string]func(*Config){
			"a direct way for LISTEN": func(c *Config) { c.ListenURL = direct },
			"LISTEN off":              func(c *Config) { c.PollOnly = true },
		} {
			if wrong := p.examine(adjust); len(wrong) > 0 {
				t.Errorf("%s: %+v", name, wrong)
			}
		}
	}
	p.url = strings.TrimSuffix(p.url, "&default_query_exec_mode=exec")
	p.finds("pooler", notifier.Failure, "loses prepared statements", func(c *Config) { c.ListenURL = direct })
}

func TestExamine_WatchedTables(t *testing.T) {
	t.Parallel()
	p := newPatient(t)
	p.exec(`CREATE TABLE public.w (id int PRIMARY KEY)`)
	p.exec(`CREATE TABLE public.p (id int PRIMARY KEY) PARTITION BY RANGE (id)`)
	p.exec(`CREATE TABLE public.part PARTITION OF public.p DEFAULT`)
	p.exec(`ALTER TABLE public.part OWNER TO notifier_publisher`)
	p.exec(`SELECT notifier.watch_table('public.w', event_type => 'w', public => true)`)
	p.exec(`SELECT notifier.watch_table('public.p', event_type => 'p', public => true)`)
	p.exec(`INSERT INTO notifier.dropped (dropped_at, message, count) VALUES ('-infinity', 'removed after the retention', 7)`)
	if wrong := p.examine(); len(wrong) > 0 {
		t.Errorf("%+v", wrong)
	}
	p.exec(`ALTER TABLE public.w DISABLE TRIGGER ALL`)
	p.finds("watched tables", notifier.Warning, "missing or disabled, of public.w")
	p.exec(`ALTER TABLE public.w ENABLE TRIGGER ALL`)
	p.exec(`ALTER TABLE public.w OWNER TO notifier_publisher`)
	p.finds("watched tables", notifier.Warning, "not their owner's function watches public.w (public.notifier_w_w_")
	p.exec(`ALTER TABLE public.w OWNER TO CURRENT_USER`)
	p.exec(`INSERT INTO notifier.dropped (dropped_at, message, count) VALUES (now(), 'division by zero', 3)`)
	p.finds("dropped events", notifier.Warning, "3 changes")
}
