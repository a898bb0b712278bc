package httpapi_test

import (
	"context"
	"testing"
	"time"

	"example.com/notifier/db/dbtest"
	"example.com/notifier/httpapi"
	"example.com/notifier/httpapi/auth"
)

// What is committed once is seen in every protocol at the same time, in its own
// shape, by whoever may see it and by nobody else.
func TestEndToEnd_OneEventInEveryProtocol(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	verifier, err := auth.New(context.Background(), bySecret())
	if err != nil {
		t.Fatal(err)
	}
	s := instance(t, url, func(c *httpapi.Config) {
		c.Anonymous, c.Tokens, c.SysadmTypes = false, verifier, []string{"issueUpdate"}
	})
	conn := dbtest.Connect(t, url)
	for _, sql := range []string{
		`INSERT INTO notifier.users (user_id) VALUES ('alice'), ('bob')`,
		`INSERT INTO notifier.dataset_permissions (user_id, dataset_id) VALUES ('alice', 'd1'), ('bob', 'd2')`,
	} {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	publish := func(recipient, dataset, payload string) {
		t.Helper()
		if _, err := conn.Exec(t.Context(), `INSERT INTO notifier.events (type, action, key, recipient, dataset_id, principal, payload, created_at)
			VALUES ('issueUpdate', 'save', '1', nullif($1, ''), nullif($2, ''), 'runner:7', $3::json, to_timestamp(2000.5))`, recipient, dataset, payload); err != nil {
			t.Fatal(err)
		}
	}
	clients := map[string]map[string]*client{}
	for _, user := range []string{"alice", "bob"} {
		show := bearer(token(t, user, time.Hour, nil))
		ernius, airlay := s.dial("/subscribe_to_events", show), s.dial("/ws", show)
		ernius.text(`{"access_id":"` + user + `","timestamp":0}`)
		s.live(ernius)
		airlay.text(`{"action":"attach","event":{"type":"issueUpdate","id":"1"}}`)
		airlay.expect(opText, airlayOK)
		drp := &drpClient{s.dial(drpPath, show)}
		drp.do("register", "issueUpdate.save.*")
		sysadm := &sysadmClient{s.dial("/", show)}
		sysadm.subscribe("issueUpdate")
		clients[user] = map[string]*client{"ernius": ernius, "airlay": airlay, "drp": drp.client, "sysadm": sysadm.client}
	}
	expect := func(user, recipient, payload string, protocols ...string) {
		t.Helper()
		for _, protocol := range protocols {
			clients[user][protocol].expect(opText, map[string]string{
				"ernius": `[{"accessid":"` + recipient + `","created_at":2000,"payload":` + payload + `}]`,
				"airlay": `{"type":"issueUpdate","id":"1","data":` + payload + `}`,
				"sysadm": sysadmMessage("issueUpdate", payload),
				"drp":    `{"Time":"1970-01-01T00:33:20.5Z","Type":"issueUpdate","Action":"save","Key":"1","Principal":"runner:7","Object":` + payload + `,"Original":null}`,
			}[protocol])
		}
	}
	publish("alice", "d1", `[ 1 ]`)
	publish("alice", "d2", `[ 2 ]`) // for neither of them
	publish("bob", "d2", `[ 3 ]`)
	publish("", "d2", `[ 4 ]`)
	publish("", "", `[ 5 ]`)
	expect("alice", "alice", `[ 1 ]`, "ernius", "airlay", "drp", "sysadm")
	expect("alice", "", `[ 5 ]`, "airlay", "drp", "sysadm")
	expect("bob", "bob", `[ 3 ]`, "ernius", "airlay", "drp", "sysadm")
	expect("bob", "", `[ 4 ]`, "airlay", "drp", "sysadm")
	expect("bob", "", `[ 5 ]`, "airlay", "drp", "sysadm")
}
