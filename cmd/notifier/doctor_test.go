package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/notifier/db/dbtest"
	"example.com/notifier/httpapi/certificate"
	"example.com/notifier/notifier"
)

func TestDoctor_NothingIsWrong(t *testing.T) {
	t.Parallel()
	database := dbtest.New(t)
	code, out, err := run(t, []string{"NOTIFIER_DATABASE_URL=" + database, "NOTIFIER_JWT_SECRET=" + strings.Repeat("x", 32)},
		"doctor", "--max-connections=10", "--max-requests=10")
	if code != 0 || err != "" {
		t.Errorf("code %d, %s", code, err)
	}
	for line := range strings.Lines(out) {
		if !strings.HasPrefix(line, "ok ") {
			t.Errorf("%s", line)
		}
	}
	for _, name := range []string{"connection", "schema drift", "listen", "keys of tokens", "open files"} {
		if !strings.Contains(out, "ok       "+name+" ") {
			t.Errorf("nothing is said of %s:\n%s", name, out)
		}
	}
}

// What the database says can't pass for another finding.
func TestDoctor_ForgedFinding(t *testing.T) {
	t.Parallel()
	database := dbtest.New(t)
	conn := dbtest.Connect(t, database)
	if _, err := conn.Exec(t.Context(), `CREATE OR REPLACE FUNCTION notifier.user_exists(user_id text) RETURNS boolean LANGUAGE plpgsql AS
		$$ BEGIN RAISE EXCEPTION E'x\x1b[2J\nok       forged'; END $$`); err != nil {
		t.Fatal(err)
	}
	code, out, _ := run(t, []string{"NOTIFIER_DATABASE_URL=" + database}, "doctor")
	if code != exitFailed || strings.Contains(out, "\nok       forged") || strings.Contains(out, "\x1b") || !strings.Contains(out, `they fail: x\u001b[2J ok       forged`) {
		t.Errorf("code %d\n%s", code, out)
	}
}

func TestDoctor_Failures(t *testing.T) {
	t.Parallel()
	database := dbtest.New(t)
	conn := dbtest.Connect(t, database)
	if _, err := conn.Exec(t.Context(), `ALTER TABLE notifier.events DISABLE TRIGGER doorbell`); err != nil {
		t.Fatal(err)
	}
	dead := httptest.NewServer(http.NotFoundHandler())
	dead.Close()
	folder := t.TempDir()
	cert, _, err := certificate.SelfSigned(folder)
	if err != nil {
		t.Fatal(err)
	}
	code, out, said := run(t, []string{"NOTIFIER_DATABASE_URL=" + database}, "doctor", "--json", "--jwks-url", dead.URL,
		"--tls-cert", cert, "--tls-key", filepath.Join(folder, "missing"), "--max-connections=1000000000")
	if code != exitFailed || !strings.Contains(said, "doctor has found 3 failures") {
		t.Errorf("code %d, %s", code, said)
	}
	var report examined
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		t.Fatal(err)
	}
	wrong := map[string]notifier.Severity{}
	for _, f := range report.Findings {
		if f.Status != notifier.OK {
			wrong[f.Name] = f.Status
		}
	}
	for name, want := range map[string]notifier.Severity{
		"triggers": notifier.Failure, "keys of tokens": notifier.Failure, "certificate": notifier.Failure, "open files": notifier.Warning,
	} {
		if wrong[name] != want {
			t.Errorf("%s: %q, want %s", name, wrong[name], want)
		}
		delete(wrong, name)
	}
	if len(wrong) > 0 {
		t.Errorf("besides: %v", wrong)
	}
	// A server finds the same, with its own settings.
	_, url := serving(t, database)
	if err := json.Unmarshal([]byte(page(t, url+"/admin/doctor")), &report); err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(report.Findings, func(f notifier.Finding) bool { return f.Name == "triggers" && f.Status == notifier.Failure }) {
		t.Errorf("%+v", report)
	}
}

func TestDoctor_CertificateThatEnds(t *testing.T) {
	t.Parallel()
	cert, key, err := certificate.SelfSigned(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	c := tlsConfig{cert: cert, key: key}
	now := time.Now()
	end, err := time.Parse(time.RFC3339, strings.TrimPrefix(c.examine(now).Found, "valid until "))
	if err != nil {
		t.Fatal(err)
	}
	for at, want := range map[time.Time]notifier.Severity{
		now: notifier.OK, end.Add(-15 * 24 * time.Hour): notifier.OK, end.Add(-24 * time.Hour): notifier.Warning,
		end.Add(time.Minute): notifier.Failure, now.Add(-365 * 24 * time.Hour): notifier.Failure,
	} {
		if f := c.examine(at); f.Status != want || (f.Advice == "") != (want == notifier.OK) {
			t.Errorf("at %v: %+v, want %s", at, f, want)
		}
	}
	if err := os.WriteFile(key, []byte("no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	if f := c.examine(now); f.Status != notifier.Failure || strings.Contains(f.Found, "no key") {
		t.Errorf("%+v", f)
	}
}
