package testcontainers_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"example.com/notifier/db/fixture"
	"example.com/notifier/testcontainers"
)

// fatal is a test that ends where it would have failed.
type fatal struct {
	testing.TB
	message string
}

// Fatalf notes why and ends the goroutine, as the real one does.
func (f *fatal) Fatalf(format string, arguments ...any) {
	c := &complaints{TB: f.TB}
	c.Errorf(format, arguments...)
	f.message = c.all[0]
	panic(f)
}

// Fatal is Fatalf.
func (f *fatal) Fatal(arguments ...any) { f.Fatalf("%v", arguments...) }

// fatally returns what a test would have failed with at once.
func fatally(t *testing.T, do func(t testing.TB)) (message string) {
	t.Helper()
	f := &fatal{TB: t}
	defer func() {
		if r := recover(); r != nil && r != f {
			panic(r)
		}
		message = f.message
	}()
	do(f)
	return ""
}

func TestSuites_HaveTemplatesOfTheirOwn(t *testing.T) {
	t.Parallel()
	filled := 0
	one := testcontainers.New(
		testcontainers.SQL(`CREATE TABLE one (n int)`),
		testcontainers.Schema(func(context.Context, string) error { filled++; return nil }))
	two := testcontainers.New(testcontainers.SQL(`CREATE TABLE two (n int)`))
	for range 2 {
		one.Start(t).Exec(`INSERT INTO one VALUES (1)`)
	}
	two.Start(t).Exec(`INSERT INTO two VALUES (1)`)
	if filled != 1 {
		t.Errorf("the schema was installed %d times", filled)
	}
}

func TestSuite_TellsWhatIsWrongWithTheSchemaEachTime(t *testing.T) {
	t.Parallel()
	wrong := testcontainers.New(testcontainers.Schema(func(context.Context, string) error { return errors.New("no such file") }))
	for range 2 {
		message := fatally(t, func(t testing.TB) { wrong.Start(t) })
		if !strings.Contains(message, "the application's schema: no such file") {
			t.Errorf("failed with %q", message)
		}
	}
}

func TestSuite_OnAGivenServer(t *testing.T) {
	t.Parallel()
	ours := shop.Start(t)
	ours.Exec(`CREATE DATABASE given`) // it stays as long as the server does
	server, err := fixture.WithDatabase(ours.DatabaseURL(), "given")
	if err != nil {
		t.Fatal(err)
	}
	databases := func() (n int) {
		err := ours.Pool().QueryRow(t.Context(), `SELECT count(*)
			FROM pg_database
			WHERE datname LIKE 'ntest_' || (SELECT oid FROM pg_database WHERE datname = 'given') || '_%'`).Scan(&n)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	suite := testcontainers.New(testcontainers.DatabaseURL(server))
	t.Run("test", func(t *testing.T) {
		n := suite.Start(t)
		n.User("ann")
		ann := n.Ernius(t, "ann")
		n.Exec(`SELECT notifier.publish('greeting', recipient => 'ann', payload => '"hello"')`)
		ann.Expect(testcontainers.Want{Recipient: "ann", Payload: testcontainers.Equal(`"hello"`)})
		if databases() != 2 {
			t.Errorf("%d databases, not a template and a clone", databases())
		}
	})
	if databases() != 1 {
		t.Errorf("%d databases after the test, not a template", databases())
	}
}

func TestEnvironment_RefusesWhatMakesNoSense(t *testing.T) {
	t.Parallel()
	for want, do := range map[string]func(n *testcontainers.Environment, t testing.TB){
		"OwnPostgres": func(n *testcontainers.Environment, _ testing.TB) { n.CrashPostgres() },
		"no role":     func(n *testcontainers.Environment, _ testing.TB) { n.Token("ann", "king") },
		"it runs":     func(n *testcontainers.Environment, _ testing.TB) { n.Start() },
		"does not run": func(n *testcontainers.Environment, _ testing.TB) {
			n.Stop()
			n.Kill()
		},
		"not connected": func(n *testcontainers.Environment, t testing.TB) {
			s := n.SSE(t, "ann")
			s.Disconnect()
			s.Stall()
		},
		"403 Forbidden": func(n *testcontainers.Environment, t testing.TB) { n.DRP(t, "eve", "*.*.*") },
		"syntax error":  func(n *testcontainers.Environment, _ testing.TB) { n.Exec("SELECT FROM FROM") },
	} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			message := fatally(t, func(t testing.TB) {
				n := shop.Start(t)
				n.User("ann")
				do(n, t)
			})
			if !strings.Contains(message, want) {
				t.Errorf("failed with %q", message)
			}
		})
	}
	t.Run("nobody to ask", func(t *testing.T) {
		t.Parallel()
		c := &complaints{TB: t}
		shop.Start(c).NotDelivered(testcontainers.Want{}, "bob")
		c.told(t, "bob has no subscriber")
	})
}

func TestFenceType_ForAPolicyThatKnowsOnlyItsOwnTypes(t *testing.T) {
	t.Parallel()
	strict := testcontainers.New(testcontainers.FenceType("order.fence"), testcontainers.SQL(`
		CREATE OR REPLACE FUNCTION notifier.may_read(user_id text, type text, dataset_id text) RETURNS boolean
		LANGUAGE sql STABLE AS $$ SELECT type IN ('order', 'order.fence') $$`))
	n := strict.Start(t)
	n.User("ann")
	all := clients(t, n.Instance, "ann")
	n.Exec(`SELECT notifier.publish('order', key => '10', recipient => 'ann', payload => '1'), notifier.publish('secret', recipient => 'ann')`)
	for name, s := range all {
		s.Expect(testcontainers.Want{Type: "order", Payload: testcontainers.Equal(1)})
		if t.Failed() {
			t.Fatalf("by %s", name)
		}
	}
}

// BenchmarkStart is what a database of its own with a notifier costs a test.
func BenchmarkStart(b *testing.B) {
	shop.Start(b)
	for b.Loop() {
		shop.Start(b)
	}
}
