package main

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "example.com/notifier"

// TestLayers guards the arrows between the packages: each list names what a
// package, with all it stands on, must do without.
func TestLayers(t *testing.T) {
	t.Parallel()
	const (
		pgx       = "github.com/jackc/pgx/v5"
		websocket = "github.com/coder/websocket"
		chi       = "github.com/go-chi/chi/v5"
		goose     = "github.com/pressly/goose/v3"
		cobra     = "github.com/spf13/cobra"
		embedding = "github.com/fergusstrange/embedded-postgres"
		metrics   = "github.com/prometheus"
	)
	for name, forbidden := range map[string][]string{
		"httpapi":              {module + "/db", module + "/migrations", module + "/cmd", pgx, goose, cobra, metrics, "database/sql"},
		"httpapi/certificate":  {module + "/db", module + "/migrations", module + "/notifier", module + "/cmd", pgx, goose, cobra, chi, websocket},
		"httpapi/client":       {module + "/db", module + "/migrations", module + "/cmd", pgx, goose, cobra, chi, metrics, "database/sql"},
		"httpapi/console":      {module + "/db", module + "/migrations", module + "/notifier", module + "/cmd", pgx, goose, cobra, chi, websocket},
		"db":                   {module + "/httpapi", module + "/migrations", module + "/cmd", websocket, chi, goose, cobra, metrics},
		"db/demo":              {module + "/httpapi", module + "/migrations", module + "/cmd", websocket, chi, goose, cobra},
		"db/embedded":          {module + "/httpapi", module + "/migrations", module + "/cmd", websocket, chi, goose, cobra},
		"migrations":           {module + "/httpapi", module + "/db", module + "/notifier", module + "/cmd", websocket, chi, cobra, embedding, metrics},
		"cmd/notifier/tuning":  {module + "/migrations", module + "/cmd/notifier/metrics", goose, cobra, embedding, metrics},
		"cmd/notifier/metrics": {module + "/migrations", goose, cobra, embedding},
	} {
		mustDoWithout(t, name, forbidden)
	}
}

// TestLayers_ToolsOfTestsStayThere: what testcontainers stands on, a Docker client and
// all that it needs, is for the tests of applications, and in nothing that runs or
// that something which runs is built from.
func TestLayers_ToolsOfTestsStayThere(t *testing.T) {
	t.Parallel()
	forbidden := []string{
		module + "/testcontainers", module + "/db/dbtest", module + "/db/fixture", module + "/db/embedded/temporary",
		module + "/httpapi/seamtest", "github.com/testcontainers", "github.com/moby", "github.com/docker", "github.com/google/go-cmp", "go.uber.org/goleak", "go.opentelemetry.io",
	}
	for _, name := range []string{"cmd/notifier", "notifier", "httpapi", "httpapi/client", "db", "db/demo", "db/embedded", "migrations"} {
		mustDoWithout(t, name, forbidden)
	}
	for name, forbidden := range map[string][]string{
		"db/fixture":             {module + "/httpapi", module + "/testcontainers"},
		"db/embedded/temporary":  {module + "/httpapi", module + "/testcontainers", module + "/migrations"},
		"testcontainers/network": {module + "/db", module + "/httpapi", module + "/notifier", "github.com"},
		"testcontainers":         {module + "/cmd/notifier/metrics", module + "/cmd/bench", module + "/db/dbtest", "github.com/spf13", "github.com/prometheus"},
	} {
		mustDoWithout(t, name, forbidden)
	}
}

// TestLayers_CoreIsStandardLibrary: the core can be tested on fake time because
// it knows no technology.
func TestLayers_CoreIsStandardLibrary(t *testing.T) {
	t.Parallel()
	for _, dependency := range dependencies(t, module+"/notifier") {
		if first, _, _ := strings.Cut(dependency, "/"); strings.Contains(first, ".") && dependency != module+"/notifier" {
			t.Errorf("notifier stands on %s", dependency)
		}
		if slices.Contains([]string{"net", "net/http", "database/sql"}, dependency) {
			t.Errorf("notifier stands on %s: sockets and SQL belong elsewhere", dependency)
		}
	}
}

// mustDoWithout fails if a package stands on what is forbidden to it.
func mustDoWithout(t *testing.T, name string, forbidden []string) {
	t.Helper()
	for _, dependency := range dependencies(t, module+"/"+name) {
		if i := slices.IndexFunc(forbidden, under(dependency)); i >= 0 {
			t.Errorf("%s stands on %s, and must not on %s", name, dependency, forbidden[i])
		}
	}
}

// dependencies lists what a package imports, directly or not; the standard
// library's own vendored packages are left out.
func dependencies(t *testing.T, name string) []string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", name).Output()
	if err != nil {
		t.Fatalf("list the dependencies of %s: %v", name, err)
	}
	return slices.DeleteFunc(strings.Fields(string(out)), func(path string) bool { return strings.HasPrefix(path, "vendor/") })
}

// under tells of a path whether a package is it or lies under it.
func under(dependency string) func(string) bool {
	return func(path string) bool { return dependency == path || strings.HasPrefix(dependency, path+"/") }
}
