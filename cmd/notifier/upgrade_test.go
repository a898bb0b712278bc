package main

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"testing"

	"example.com/notifier/db/dbtest"
	"github.com/coder/websocket"
)

// The migrations of two releases to come: the first only adds, so that servers of
// this release can go on; the second takes that away.
const (
	expand = `-- +goose Up
ALTER TABLE notifier.events ADD COLUMN region text DEFAULT 'here';
CREATE INDEX events_region ON notifier.events (region) WHERE region <> 'here';
GRANT INSERT (region) ON notifier.events TO notifier_publisher, notifier_server;

-- +goose Down
ALTER TABLE notifier.events DROP COLUMN region;
`
	contract = `-- +goose Up
ALTER TABLE notifier.events ALTER COLUMN region SET NOT NULL;
CREATE OR REPLACE FUNCTION notifier.oldest_server() RETURNS bigint
LANGUAGE sql IMMUTABLE
AS 'SELECT 90001::bigint';

-- +goose Down
ALTER TABLE notifier.events ALTER COLUMN region DROP NOT NULL;
CREATE OR REPLACE FUNCTION notifier.oldest_server() RETURNS bigint
LANGUAGE sql IMMUTABLE
AS 'SELECT 1::bigint';
`
)

// release builds notifier with more migrations than the tree has, and returns the
// binary.
func release(t *testing.T, version string, more map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	folder, err := filepath.Abs("../../migrations")
	if err != nil {
		t.Fatal(err)
	}
	replace := map[string]string{}
	for name, text := range more {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		replace[filepath.Join(folder, name)] = file
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(file, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(dir, "notifier")
	args := []string{"build", "-overlay", file, "-ldflags", "-X main.version=" + version, "-o", binary}
	if info, ok := debug.ReadBuildInfo(); ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
		args = append(args, "-race")
	}
	if out, err := exec.CommandContext(t.Context(), "go", append(args, ".")...).CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return binary
}

// migrateWith has a release bring the schema up.
func migrateWith(t *testing.T, binary, database string) {
	t.Helper()
	command := exec.CommandContext(t.Context(), binary, "migrate", "up")
	command.Env = cleanEnvironment("NOTIFIER_DATABASE_URL=" + database)
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("migrate: %v\n%s", err, out)
	}
}

// replaceBy ends the instance and starts another binary in its place.
func (m *member) replaceBy(binary string) {
	m.fleet.t.Helper()
	m.down()
	m.binary = binary
	m.up()
}

// TestServe_RollingUpgrade goes from a release to the next under load, with both side
// by side, and back and forth. The release after that takes away what the first one
// needs: who of it still runs goes by itself, and who starts is refused. All the time
// clients with cursors miss nothing and have nothing twice.
func TestServe_RollingUpgrade(t *testing.T) {
	old := os.Args[0]
	next := release(t, "v2-next", map[string]string{"90001_expand.sql": expand})
	last := release(t, "v3-last", map[string]string{"90001_expand.sql": expand, "90002_contract.sql": contract})
	f := newFleet(t, 2, old)
	f.run(4)
	f.hear("before", f.clients)

	migrateWith(t, next, f.database)
	f.hear("with servers older than the schema", f.clients)
	f.members[0].replaceBy(old) // an older one may still start
	f.members[0].replaceBy(next)
	conn := dbtest.Connect(t, f.database)
	dbtest.Eventually(t, "both releases serve", func() bool {
		var versions int
		err := conn.QueryRow(t.Context(), `SELECT count(DISTINCT version) FROM notifier.instances WHERE feed = 'listening'`).Scan(&versions)
		return err == nil && versions == 2
	})
	f.hear("side by side", f.clients)
	f.members[1].replaceBy(next)
	f.members[0].replaceBy(old) // and back
	f.hear("one step back", f.clients)

	gone := attend(t, f.members[0].url(), "reader")
	migrateWith(t, last, f.database)
	if code := f.members[0].wait(); code != exitFailed {
		t.Errorf("who was left behind ended with code %d", code)
	}
	if end, ok := errors.AsType[websocket.CloseError](<-gone); !ok || end.Code != websocket.StatusServiceRestart {
		t.Errorf("its client was not told to come again: %v", end)
	}
	const refusal = "the database's schema is for newer servers: it needs one that knows version 90001"
	if said := f.members[0].err.String(); !strings.Contains(said, refusal) || !strings.Contains(said, "install a newer notifier") {
		t.Errorf("who was left behind said: %s", said)
	}
	f.hear("after the contraction", f.clients)
	f.members[0].launch()
	if code := f.members[0].wait(); code != exitFailed || !strings.Contains(f.members[0].err.String(), refusal) {
		t.Errorf("a server that is too old starts: code %d, %s", code, f.members[0].err)
	}
	f.members[0].binary = next
	f.members[0].up()
	f.members[1].replaceBy(last)
	f.hear("at the end", f.clients)
	t.Log(f.finish())
}
