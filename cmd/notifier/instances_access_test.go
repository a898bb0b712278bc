package main

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"

	"example.com/notifier/db/dbtest"
	"example.com/notifier/httpapi/seamtest"
	"github.com/coder/websocket"
	"github.com/jackc/pgx/v5"
)

// visitors are a user with clients of every protocol at each instance, whose
// permission is taken, and another one, who is dropped.
type visitors struct {
	fleet   *fleet
	user    string
	sql     *pgx.Conn
	at      map[*member][]*seamtest.Client
	gone    map[*member]<-chan error // how the connection of who is dropped has ended
	end     context.CancelFunc
	running sync.WaitGroup
}

// newVisitors returns when all of them have what is published for them.
func newVisitors(f *fleet, user string) *visitors {
	f.t.Helper()
	v := &visitors{fleet: f, user: user, sql: dbtest.Connect(f.t, f.database),
		at: map[*member][]*seamtest.Client{}, gone: map[*member]<-chan error{}}
	v.exec(`INSERT INTO notifier.users (user_id) VALUES ($1), ('dropped ' || $1)`)
	v.exec(`INSERT INTO notifier.dataset_permissions (user_id, dataset_id) VALUES ($1, 'd ' || $1)`)
	var start string
	if err := v.sql.QueryRow(f.t.Context(), `SELECT notifier.position()`).Scan(&start); err != nil {
		f.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(f.t.Context())
	v.end = cancel
	for _, m := range f.members {
		v.at[m] = []*seamtest.Client{
			seamtest.NewClient(f.t, seamtest.Ernius{}, start),
			seamtest.NewClient(f.t, seamtest.Airlay{}, start, "open 1", "secret 1"),
			seamtest.NewClient(f.t, seamtest.DRP{}, start, "*.*.*"),
			seamtest.NewClient(f.t, seamtest.SSE{}, start, "*.*.*"),
			seamtest.NewClient(f.t, seamtest.Sysadm{}, start, "open", "secret"),
		}
		for _, c := range v.at[m] {
			c.User, c.Token, c.Reach = user, fleetToken(f.t, user), m.url
			v.running.Go(func() { c.Run(ctx) }) // ends with ctx
		}
		v.gone[m] = attend(f.t, m.url(), "dropped "+user)
	}
	v.exec(`INSERT INTO notifier.events (type, key, recipient, dataset_id, payload) VALUES ('secret', '1', $1, 'd ' || $1, '"allowed"')`)
	for _, clients := range v.at {
		v.all(clients, `"allowed"`)
	}
	return v
}

// attend connects as ernius's clients do, and tells how that ends.
func attend(t *testing.T, url, user string) <-chan error {
	t.Helper()
	header := http.Header{"Authorization": {"Bearer " + fleetToken(t, user)}}
	ws, _, err := websocket.Dial(t.Context(), url+"/subscribe_to_events", &websocket.DialOptions{HTTPHeader: header})
	if err != nil {
		t.Fatal(err)
	}
	if err := ws.Write(t.Context(), websocket.MessageText, []byte(`{"access_id":"`+user+`","cursor":""}`)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := ws.Read(t.Context()); err != nil { // it is subscribed
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { // ends with the connection, or the test
		defer ws.CloseNow()
		for {
			if _, _, err := ws.Read(t.Context()); err != nil {
				ended <- err
				return
			}
		}
	}()
	return ended
}

func (v *visitors) exec(sql string) {
	v.fleet.t.Helper()
	if _, err := v.sql.Exec(v.fleet.t.Context(), sql, v.user); err != nil {
		v.fleet.t.Fatal(err)
	}
}

// all waits until each has had an event.
func (v *visitors) all(clients []*seamtest.Client, payload string) {
	v.fleet.t.Helper()
	for _, c := range clients {
		dbtest.Eventually(v.fleet.t, c.String()+" has "+payload, func() bool { return c.Had(payload) })
	}
}

// sendAway takes the permission, publishes what must not be seen and then what may
// be, drops the other one, and waits until all that is known everywhere but at one
// instance.
func (v *visitors) sendAway(stopped *member) {
	v.fleet.t.Helper()
	v.exec(`DELETE FROM notifier.dataset_permissions WHERE user_id = $1`)
	for range 3 {
		v.exec(`INSERT INTO notifier.events (type, key, recipient, dataset_id, payload) VALUES ('secret', '1', $1, 'd ' || $1, '"forbidden"')`)
	}
	v.exec(`INSERT INTO notifier.events (type, key, recipient, payload) VALUES ('open', '1', $1, '"afterwards"')`)
	dbtest.Eventually(v.fleet.t, "somebody drops a user", func() bool {
		request, err := http.NewRequestWithContext(v.fleet.t.Context(), http.MethodPost, v.fleet.balancer.moving+"/drop_user",
			strings.NewReader(`{"drop_access_id":"dropped `+v.user+`"}`))
		if err != nil {
			return false
		}
		request.Header.Set("Authorization", "Bearer "+fleetToken(v.fleet.t, "operator", "admin"))
		request.Header.Set("Content-Type", "application/json")
		answer, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(request)
		if err != nil {
			return false
		}
		answer.Body.Close()
		return answer.StatusCode == http.StatusOK
	})
	for _, m := range v.fleet.members {
		if m != stopped {
			v.hasGone(m)
		}
	}
}

func (v *visitors) hasGone(m *member) {
	v.fleet.t.Helper()
	v.all(v.at[m], `"afterwards"`)
	var err error
	dbtest.Eventually(v.fleet.t, "who is dropped is sent away", func() bool {
		select {
		case err = <-v.gone[m]:
			return true
		default:
			return false
		}
	})
	if end, ok := errors.AsType[websocket.CloseError](err); !ok || end.Code != websocket.StatusNormalClosure || end.Reason != "close" {
		v.fleet.t.Errorf("who was dropped was told: %v", err)
	}
	delete(v.gone, m)
}

// haveGone waits for the rest, and makes sure that nobody has had what was
// forbidden.
func (v *visitors) haveGone() {
	v.fleet.t.Helper()
	for m := range v.gone {
		v.hasGone(m)
	}
	v.end()
	v.running.Wait()
	for _, clients := range v.at {
		for _, c := range clients {
			if c.Had(`"forbidden"`) {
				v.fleet.t.Errorf("%v had what was published after its permission was taken", c)
			}
		}
	}
}
