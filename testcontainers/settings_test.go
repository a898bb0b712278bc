package testcontainers_test

import (
	"os"
	"strings"
	"testing"

	"example.com/notifier/testcontainers"
)

// settingsTests are what shows from outside that a setting has arrived.
var settingsTests = map[string]struct {
	settings map[string]string
	see      func(t *testing.T, n *testcontainers.Environment)
}{
	"a payload too large": {
		map[string]string{"NOTIFIER_MAX_PAYLOAD": "64"},
		func(t *testing.T, n *testcontainers.Environment) {
			ann := n.SSE(t, "ann")
			n.Exec(`SELECT notifier.publish('order', recipient => 'ann', payload => '"short"'),
				notifier.publish('order', recipient => 'ann', payload => to_json(repeat('x', 100)))`)
			ann.Expect(
				testcontainers.Want{Payload: testcontainers.Equal(`"short"`)},
				testcontainers.Want{Payload: testcontainers.Equal(`null`)})
		},
	},
	"poll only": {
		map[string]string{"NOTIFIER_LISTEN": "off", "NOTIFIER_POLL_INTERVAL": "20ms"},
		func(t *testing.T, n *testcontainers.Environment) {
			var listeners int
			if err := n.Pool().QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity
				WHERE datname = current_database() AND query LIKE '%LISTEN %' AND pid <> pg_backend_pid()`).Scan(&listeners); err != nil || listeners > 0 {
				t.Errorf("%d connections listen, %v", listeners, err)
			}
			ann := n.SSE(t, "ann")
			n.Exec(`SELECT notifier.publish('order', recipient => 'ann')`)
			ann.Expect(testcontainers.Want{Type: "order"})
		},
	},
	"sysadm's types": {
		map[string]string{"NOTIFIER_SYSADM_TYPES": "order", "NOTIFIER_SYSADM_LATEST": "none"},
		func(t *testing.T, n *testcontainers.Environment) {
			ann := n.Sysadm(t, "ann", "order", "invoice")
			n.Exec(`SELECT notifier.publish('invoice', recipient => 'ann'), notifier.publish('order', recipient => 'ann')`)
			ann.Expect(testcontainers.Want{Type: "order"})
		},
	},
	"no second connection": {
		map[string]string{"NOTIFIER_MAX_CONNECTIONS_PER_USER": "1"},
		func(t *testing.T, n *testcontainers.Environment) {
			n.DRP(t, "ann", "*.*.*")
			_, err := n.Subscribe(t, testcontainers.Subscription{Protocol: testcontainers.DRP, User: "ann", Topics: []string{"*.*.*"}})
			if err == nil || !strings.Contains(err.Error(), "429") && !strings.Contains(err.Error(), "503") {
				t.Errorf("the second: %v", err)
			}
		},
	},
	"an outbox of one event": {
		map[string]string{"NOTIFIER_OUTBOX_EVENTS": "1", "NOTIFIER_RECENT_BYTES": "1"},
		func(t *testing.T, n *testcontainers.Environment) {
			ann := n.DRP(t, "ann", "order.*.*")
			n.Exec(`SELECT notifier.publish('order', key => g::text, recipient => 'ann') FROM generate_series(1, 100) g`)
			var all []int
			for id := range 100 {
				all = append(all, id+1)
			}
			ann.Expect(keys(all...)...)
		},
	},
	"access is asked again": {
		map[string]string{"NOTIFIER_ACCESS_MAX_AGE": "1ms"},
		func(t *testing.T, n *testcontainers.Environment) {
			ann := n.SSE(t, "ann", "order.*.*")
			n.Exec(`SELECT notifier.publish('order', key => '1', recipient => 'ann')`)
			ann.Expect(keys(1)...)
			n.Exec(`CREATE OR REPLACE FUNCTION notifier.may_read(user_id text, type text, dataset_id text) RETURNS boolean
				LANGUAGE sql STABLE AS $$ SELECT type = 'notifier-fence' $$`) // nobody says so
			n.Exec(`SELECT notifier.publish('order', key => '2', recipient => 'ann')`)
			ann.ExpectNothing()
		},
	},
}

func TestSetting_InThisProcess(t *testing.T) {
	t.Parallel()
	seeSettings(t)
}

func TestSetting_InAContainer(t *testing.T) {
	t.Parallel()
	image := os.Getenv("NOTIFIER_TEST_IMAGE")
	if image == "" {
		t.Skip("NOTIFIER_TEST_IMAGE names no image of notifier")
	}
	seeSettings(t, testcontainers.NotifierImage(image))
}

func seeSettings(t *testing.T, options ...testcontainers.Option) {
	t.Helper()
	for name, test := range settingsTests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var settings []testcontainers.StartOption
			for variable, value := range test.settings {
				settings = append(settings, testcontainers.Setting(variable, value))
			}
			n := testcontainers.New(append(options, testcontainers.Always(settings...))...).Start(t)
			n.User("ann")
			test.see(t, n)
		})
	}
}

func TestSetting_OfOneTestOneInstanceAndFromTheNextStartOn(t *testing.T) {
	t.Parallel()
	n := shop.Start(t, testcontainers.Setting("NOTIFIER_MAX_PAYLOAD", "64"))
	second := n.Add(t, testcontainers.Setting("NOTIFIER_MAX_PAYLOAD", "1KiB"))
	third := n.Add(t)
	n.User("ann")
	small, large, like := n.SSE(t, "ann"), second.SSE(t, "ann"), third.SSE(t, "ann")
	long := `"` + strings.Repeat("x", 100) + `"`
	publish := func() {
		n.Exec(`SELECT notifier.publish('order', recipient => 'ann', payload => to_json(repeat('x', 100)))`)
	}
	is := func(payload string) testcontainers.Want {
		return testcontainers.Want{Payload: testcontainers.Equal(payload)}
	}
	publish()
	small.Expect(is(`null`))
	large.Expect(is(long))
	like.Expect(is(`null`))
	n.Set("NOTIFIER_MAX_PAYLOAD", "")
	publish()
	small.Expect(is(`null`))
	n.Restart()
	small.Resume()
	publish()
	small.Expect(is(long))
}

func TestSetting_TellsAllThatIsWrong(t *testing.T) {
	t.Parallel()
	wrong := []testcontainers.StartOption{
		testcontainers.Setting("NOTIFIER_RETENTION", "soon"), testcontainers.Setting("NOTIFIER_ADDR", ":1"),
		testcontainers.Setting("NOTIFIER_MAX_PUSHING", "1KiB"),
	}
	for what, do := range map[string]func(t testing.TB){
		"Start": func(t testing.TB) { shop.Start(t, wrong...) },
		"Add":   func(t testing.TB) { shop.Start(t).Add(t, wrong...) },
	} {
		message := fatally(t, do)
		for _, want := range []string{
			`NOTIFIER_RETENTION: "soon" is no duration`, "NOTIFIER_ADDR: there is no such setting", "--max-pushing (NOTIFIER_MAX_PUSHING): is less than",
		} {
			if !strings.Contains(message, want) {
				t.Errorf("%s: failed without %q: %s", what, want, message)
			}
		}
	}
	message := fatally(t, func(t testing.TB) { shop.Start(t, testcontainers.Setting("NOTIFIER_MAX_PAYLOAD", "10")) })
	if !strings.Contains(message, "NOTIFIER_MAX_PAYLOAD: must be 64 at least") {
		t.Errorf("too small: failed with %q", message)
	}
	message = fatally(t, func(t testing.TB) { shop.Start(t).Set("NOTIFIER_LISTEN", "perhaps") })
	if !strings.Contains(message, `NOTIFIER_LISTEN: "perhaps" is neither on nor off`) {
		t.Errorf("Set: failed with %q", message)
	}
}
