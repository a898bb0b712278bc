package tracker_test

import (
	"testing"

	"example.com/notifier/testcontainers"
	"example.com/tracker"
)

var suite = testcontainers.New(testcontainers.Schema(tracker.Migrate)) // your tables, put into a template once

func TestMain(m *testing.M) { testcontainers.Main(m) }

func TestAdd_MembersHearOfIt(t *testing.T) {
	t.Parallel()
	n := suite.Start(t) // a clone of the template, and a notifier in front of it
	issues, err := tracker.Open(t.Context(), n.DatabaseURL())
	if err != nil {
		t.Fatal(err)
	}
	defer issues.Close()
	n.Exec(`INSERT INTO people VALUES ('ann'), ('eve')`) // whom your policy knows; by the default one: n.User, n.Grant
	n.Exec(`INSERT INTO members (person, project) VALUES ('ann', 'apollo'), ('eve', 'gemini')`)
	ann, eve := n.DRP(t, "ann", "issue.*.*"), n.SSE(t, "eve", "*.*.*")
	if _, err := issues.Add(t.Context(), "apollo", "leaks"); err != nil {
		t.Fatal(err)
	}
	ann.Expect(testcontainers.Want{Type: "issue", Action: "insert", Payload: testcontainers.Containing(`{"title": "leaks"}`)})
	eve.ExpectNothing()
}
