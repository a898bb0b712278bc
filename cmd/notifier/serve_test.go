package main

import (
	"context"
	"io"
	"net"
	"net/url"
	"strings"
	"syscall"
	"testing"

	"example.com/notifier/db/dbtest"
	"example.com/notifier/httpapi/client"
	"github.com/jackc/pgx/v5"
)

func TestServe_RefusesWithoutAnonymous(t *testing.T) {
	t.Parallel()
	database := dbtest.New(t)
	env := []string{"NOTIFIER_DATABASE_URL=" + database}
	code, _, err := run(t, env, "serve", "--addr=127.0.0.1:0")
	if code != exitFailed || !strings.Contains(err, "--anonymous (NOTIFIER_ANONYMOUS): is off") || !strings.Contains(err, "notifier user add") {
		t.Errorf("code %d, %s", code, err)
	}
	add := start(t, env, "user", "add", "alice")
	if _, err := io.WriteString(add.in, "a password\n"); err != nil {
		t.Fatal(err)
	}
	if code := add.wait(); code != 0 {
		t.Fatalf("add a user: code %d", code)
	}
	p := start(t, env, "serve", "--addr=127.0.0.1:0")
	p.says(p.err, "msg=ready")
	if got := status(t, "http://"+p.address()+"/clients"); got != 401 {
		t.Errorf("with a user who has a password, a stranger gets %d", got)
	}
}

func TestServe_TellsAllProblemsAtOnce(t *testing.T) {
	t.Parallel()
	code, _, err := run(t,
		[]string{"NOTIFIER_LISTEN=perhaps", "NOTIFIER_DATABASE_URL=postgres://u:hun/ter2@h/d"},
		"serve", "--addr", "tls://:443", "--retention=soon", "--max-body=1GiB")
	if code != exitFailed {
		t.Errorf("code %d", code)
	}
	for _, want := range []string{
		"NOTIFIER_LISTEN: ", "NOTIFIER_DATABASE_URL: ", "--tls-cert (NOTIFIER_TLS_CERT): is missing for the tls:// address", "--retention: ",
		"--max-pushing (NOTIFIER_MAX_PUSHING): ",
	} {
		if !strings.Contains(err, want) {
			t.Errorf("not told: %s", want)
		}
	}
	if strings.Contains(err, "hun") || strings.Contains(err, "ter2") {
		t.Errorf("quotes a password: %s", err)
	}
}

func TestServe_RefusesAnOldSchemaAndSaysWhatMendsIt(t *testing.T) {
	t.Parallel()
	database := dbtest.Empty(t)
	code, _, err := run(t, []string{"NOTIFIER_DATABASE_URL=" + database}, "serve", "--anonymous", "--addr=127.0.0.1:0")
	if code != exitFailed || !strings.Contains(err, "'notifier migrate up'") || !strings.Contains(err, "'notifier serve --migrate'") {
		t.Errorf("code %d, %s", code, err)
	}
	p, _ := serving(t, database, "--migrate")
	p.signal(syscall.SIGTERM)
	if code := p.wait(); code != 0 {
		t.Errorf("after --migrate: code %d", code)
	}
}

// TestServe_NeverTellsAPassword looks for it in everything a server writes,
// also when the database refuses it or can't be reached.
func TestServe_NeverTellsAPassword(t *testing.T) {
	t.Parallel()
	good := dbtest.New(t)
	u, err := url.Parse(good)
	if err != nil {
		t.Fatal(err)
	}
	const secret = "hunter2-é%2F"
	u.User = url.UserPassword(u.User.Username(), secret)
	wrong := u.String()
	u.Host = "127.0.0.1:1"
	unreachable := u.String()
	for name, env := range map[string][]string{
		"wrong":         {"NOTIFIER_DATABASE_URL=" + wrong},
		"unreachable":   {"NOTIFIER_DATABASE_URL=" + unreachable},
		"wrong listen":  {"NOTIFIER_DATABASE_URL=" + good, "NOTIFIER_LISTEN_DATABASE_URL=" + wrong},
		"wrong migrate": {"NOTIFIER_DATABASE_URL=" + wrong, "NOTIFIER_MIGRATE=true"},
		"bad option":    {"NOTIFIER_DATABASE_URL=" + wrong + "&sslmode=perhaps"},
		"bad port":      {"NOTIFIER_DATABASE_URL=postgres://u:hunter2-x@h:port/d"},
		"bad keywords":  {"NOTIFIER_DATABASE_URL=host=h password='hunter2-x' port"},
		"blanks":        {"NOTIFIER_DATABASE_URL=host=127.0.0.1 port=1 password = hunter2-x"},
		"lost blank":    {"NOTIFIER_DATABASE_URL=host=h PASSWORD=hunter2-x port"},
		"open quote":    {"NOTIFIER_DATABASE_URL=host=h password='hunter2-x"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env = append(env, "NOTIFIER_ANONYMOUS=1", "NOTIFIER_ADDR=127.0.0.1:0", "NOTIFIER_LOG_LEVEL=debug")
			code, out, err := run(t, env, "serve")
			if code != exitFailed || err == "" {
				t.Errorf("code %d, %q", code, err)
			}
			if strings.Contains(out+err, "hunter2") {
				t.Errorf("tells a password: %s%s", out, err)
			}
		})
	}
}

// TestServe_SessionTellsNoPassword is the same for one that works.
func TestServe_SessionTellsNoPassword(t *testing.T) {
	t.Parallel()
	database := dbtest.New(t)
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	const role = "CREATE ROLE told_no_password LOGIN PASSWORD 'hunter2' IN ROLE notifier_server"
	if _, err := dbtest.Connect(t, database).Exec(t.Context(), role); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dropRole(t, database, "told_no_password") })
	u.User = url.UserPassword("told_no_password", "hunter2")
	p, at := serving(t, u.String(), "--log-level=debug")
	w := start(t, nil, "watch", "--url", at, "--user", "u")
	w.says(w.err, "watching")
	if _, err := dbtest.Connect(t, database).Exec(t.Context(), `
		SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'told_no_password'`); err != nil {
		t.Fatal(err)
	}
	if code, _, err := run(t, nil, "push", "--url", at, "--to", "u", "hello"); code != 0 {
		t.Fatalf("push: code %d, %s", code, err)
	}
	w.says(w.out, `"hello"`)
	p.signal(syscall.SIGTERM)
	if code := p.wait(); code != 0 {
		t.Errorf("code %d", code)
	}
	if strings.Contains(p.out.String()+p.err.String(), "hunter2") {
		t.Errorf("tells a password: %s", p.err)
	}
}

func TestServe_JSONLogsToTheLastLine(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	code, _, errText := run(t, []string{"NOTIFIER_DATABASE_URL=" + dbtest.New(t)},
		"serve", "--anonymous", "--log-format=json", "--addr", l.Addr().String())
	if code != exitFailed {
		t.Errorf("code %d", code)
	}
	lines := strings.Split(strings.TrimSpace(errText), "\n")
	if last := lines[len(lines)-1]; !strings.HasPrefix(last, "{") || !strings.Contains(last, "address already in use") {
		t.Errorf("last line %s", last)
	}
}

func TestServe_SIGTERMClosesInOrder(t *testing.T) {
	t.Parallel()
	database := dbtest.New(t)
	p, at := serving(t, database, "--drain=1s")
	c, err := client.New(at)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	subscription, err := c.Subscribe(t.Context(), "u", 0)
	if err != nil {
		t.Fatal(err)
	}
	defer subscription.Close()
	if got := status(t, at+"/readyz"); got != 200 {
		t.Errorf("readyz %d before the signal", got)
	}
	p.signal(syscall.SIGTERM)
	if _, err := subscription.Next(t.Context()); err == nil || !strings.Contains(err.Error(), "server closed the connection: 10") {
		t.Errorf("the client was told %v, want a close frame", err)
	}
	if code := p.wait(); code != 0 {
		t.Errorf("code %d, want 0", code)
	}
	if got := status(t, at+"/readyz"); got != 0 {
		t.Errorf("readyz %d after the end", got)
	}
}

func TestServe_SecondSignalEndsAtOnce(t *testing.T) {
	t.Parallel()
	p, at := serving(t, dbtest.New(t), "--drain=1h")
	c, err := client.New(at)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for range 3 {
		subscription, err := c.Subscribe(t.Context(), "u", 0)
		if err != nil {
			t.Fatal(err)
		}
		defer subscription.Close()
	}
	p.signal(syscall.SIGINT)
	dbtest.Eventually(t, "readyz fails", func() bool { return status(t, at+"/readyz") != 200 })
	p.signal(syscall.SIGINT)
	if code := p.wait(); code != exitFailed {
		t.Errorf("code %d, want %d", code, exitFailed)
	}
}

// dropRole is for a cleanup, when the test's own context has ended.
func dropRole(t *testing.T, database, role string) {
	conn, err := pgx.Connect(context.Background(), database)
	if err != nil {
		t.Error(err)
		return
	}
	defer conn.Close(context.Background())
	for _, statement := range []string{"DROP OWNED BY ", "DROP ROLE "} {
		if _, err := conn.Exec(context.Background(), statement+role); err != nil {
			t.Errorf("%s: %v", statement, err)
		}
	}
}

// TestServe_RefusesASchemaForNewerServers is how a later release that takes
// something away keeps this one from running on it.
func TestServe_RefusesASchemaForNewerServers(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	conn := dbtest.Connect(t, url)
	if _, err := conn.Exec(t.Context(), `CREATE OR REPLACE FUNCTION notifier.oldest_server() RETURNS bigint
		LANGUAGE sql IMMUTABLE AS 'SELECT 999::bigint'`); err != nil {
		t.Fatal(err)
	}
	code, _, err := run(t, []string{"NOTIFIER_DATABASE_URL=" + url}, "serve", "--anonymous")
	if code != exitFailed || !strings.Contains(err, "install a newer notifier") {
		t.Errorf("code %d, %s", code, err)
	}
}
