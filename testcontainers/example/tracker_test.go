package tracker_test

import (
	"strconv"
	"testing"

	"example.com/notifier/testcontainers"
	"example.com/tracker"
	"github.com/jackc/pgx/v5"
)

// setup gives a test a tracker with ann and bob in the project apollo, and eve in gemini.
func setup(t *testing.T, options ...testcontainers.StartOption) (*testcontainers.Environment, *tracker.Tracker) {
	t.Helper()
	n := suite.Start(t, options...)
	issues, err := tracker.Open(t.Context(), n.DatabaseURL())
	check(t, err)
	t.Cleanup(issues.Close)
	check(t, issues.Join(t.Context(), "ann", "apollo"))
	check(t, issues.Join(t.Context(), "bob", "apollo"))
	check(t, issues.Join(t.Context(), "eve", "gemini"))
	return n, issues
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func add(t *testing.T, issues *tracker.Tracker, project, title string) (id int64, key string) {
	t.Helper()
	id, err := issues.Add(t.Context(), project, title)
	check(t, err)
	return id, strconv.FormatInt(id, 10)
}

func TestAssign_TellsTheAssigneeAlone(t *testing.T) {
	t.Parallel()
	n, issues := setup(t)
	id, key := add(t, issues, "apollo", "leaks")
	bob, ann := n.Airlay(t, "bob", "notification"), n.Airlay(t, "ann", "notification", "issue/"+key)
	check(t, issues.Assign(t.Context(), id, "bob"))
	bob.Expect(testcontainers.Want{Type: "notification", Key: key, Payload: testcontainers.Equal(`{"assigned": "leaks"}`)})
	ann.Expect(testcontainers.Want{Type: "issue", Key: key, Payload: testcontainers.Containing(`{"assignee": "bob"}`)})
}

func TestLeave_EndsWhatOneHears(t *testing.T) {
	t.Parallel()
	n, issues := setup(t)
	ann, bob := n.Sysadm(t, "ann", "issue"), n.SSE(t, "bob", "issue.*.*")
	check(t, issues.Leave(t.Context(), "bob", "apollo"))
	add(t, issues, "apollo", "secret")
	ann.Expect(testcontainers.Want{Type: "issue", Payload: testcontainers.Containing(`{"title": "secret"}`)})
	bob.ExpectNothing()
	n.NotDelivered(testcontainers.Want{Type: "issue"}, "bob")
}

func TestIssues_NoneIsMissedWhateverBreaks(t *testing.T) {
	t.Parallel()
	n, issues := setup(t, testcontainers.OwnPostgres())
	ann := n.SSE(t, "ann", "issue.*.*")
	title := func(text string) testcontainers.Want {
		return testcontainers.Want{Payload: testcontainers.Containing(map[string]string{"title": text})}
	}
	late := n.Hold(func(tx pgx.Tx) error {
		_, err := tx.Exec(t.Context(), `INSERT INTO issues (project, title) VALUES ('apollo', 'slow')`)
		return err
	})
	add(t, issues, "apollo", "quick")
	ann.Expect(title("quick"))
	n.KillListeners()
	late.Commit()
	ann.Expect(title("slow"))
	n.Kill()
	ann.ExpectEnd()
	add(t, issues, "apollo", "while notifier was away")
	n.CrashPostgres()
	n.RestartPostgres()
	n.Start()
	ann.Resume()
	ann.Expect(title("while notifier was away"))
}
