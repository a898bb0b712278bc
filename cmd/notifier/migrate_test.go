package main

import (
	"strings"
	"testing"

	"example.com/notifier/db/dbtest"
)

func TestMigrate_UpStatusDown(t *testing.T) {
	t.Parallel()
	env := []string{"NOTIFIER_DATABASE_URL=" + dbtest.Empty(t)}
	step := func(args ...string) string {
		t.Helper()
		code, out, err := run(t, env, append([]string{"migrate"}, args...)...)
		if code != 0 {
			t.Fatalf("migrate %v: code %d, %s", args, code, err)
		}
		return out
	}
	if out := step("status"); !strings.Contains(out, "1        no ") {
		t.Errorf("status of an empty database:\n%s", out)
	}
	step("up")
	step("up")
	if out := step("status"); strings.Contains(out, " no ") || !strings.Contains(out, "00001_events") {
		t.Errorf("status after up:\n%s", out)
	}
	for strings.Contains(step("status"), "Z  ") {
		step("down")
	}
	step("down")
	if out := step("status"); !strings.Contains(out, "1        no ") {
		t.Errorf("status after down:\n%s", out)
	}
}

// TestMigrate_GoesTheDirectWay: session locks do not pass a transaction pooler.
func TestMigrate_GoesTheDirectWay(t *testing.T) {
	t.Parallel()
	code, _, err := run(t,
		[]string{"NOTIFIER_LISTEN_DATABASE_URL=" + dbtest.Empty(t), "NOTIFIER_DATABASE_URL=postgres://127.0.0.1:1/pooler"}, "migrate", "up")
	if code != 0 {
		t.Errorf("code %d, %s", code, err)
	}
}

func TestMigrate_NeedsADatabase(t *testing.T) {
	t.Parallel()
	code, _, err := run(t, nil, "migrate", "up")
	if code != exitFailed || !strings.Contains(err, "--database-url (NOTIFIER_DATABASE_URL): is needed") {
		t.Errorf("code %d, %s", code, err)
	}
}
