package httpapi_test

import (
	"testing"
)

func TestErnius_PushReachesTheSubscriber(t *testing.T) {
	t.Parallel()
	s := setup(t)
	c := s.announce("client1", 1000)
	status, header, text := s.request("POST", "/push_events",
		`[{"accessid":"client1","created_at":1000,"payload":"eq"}]`, "Content-Type: application/json")
	if status != 200 || text != "true" || header.Get("Content-Type") != "text/plain;charset=utf-8" {
		t.Errorf("push: %d %q %q", status, text, header.Get("Content-Type"))
	}
	c.expect(opText, `[{"accessid":"client1","created_at":1000,"payload":"eq"}]`)
	_, _, text = s.request("GET", "/clients", "")
	if want := "Connected clients:client1 "; text != want {
		t.Errorf("clients: %q, want %q", text, want)
	}
	_, _, text = s.request("POST", "/drop_user", `{"drop_access_id":"client1"}`, "Content-Type: application/json")
	if text != "true" {
		t.Errorf("drop: %q", text)
	}
	if code, reason := c.expectClose(); code != 1000 || reason != "close" {
		t.Errorf("closed with %d %q", code, reason)
	}
}
