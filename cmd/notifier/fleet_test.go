package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"example.com/notifier/db/dbtest"
	"example.com/notifier/httpapi/seamtest"
	"github.com/golang-jwt/jwt/v5"
)

const fleetSecret = "the secret of all instances of a test"

// fleet is some instances on one database, behind a balancer, with clients that
// follow through it and writers that commit.
type fleet struct {
	t        *testing.T
	database string
	start    string // the cursor from before all
	balancer *balancer
	members  []*member
	clients  []*seamtest.Client
	moving   []*seamtest.Client // those of them that do not stay with a server which does not answer
	pushers  []*httpWriter

	running, writing   sync.WaitGroup
	endRun, endWriting context.CancelFunc
}

// member is an instance: one process after another at one address.
type member struct {
	*process
	fleet   *fleet
	binary  string // the test binary is notifier, too
	address string
}

// newFleet begins with as many instances of a binary as count says.
func newFleet(t *testing.T, count int, binary string) *fleet {
	t.Helper()
	f := &fleet{t: t, database: dbtest.New(t)}
	conn := dbtest.Connect(t, f.database)
	f.start = seamtest.Prepare(t, conn)
	if _, err := conn.Exec(t.Context(), `INSERT INTO notifier.users (user_id) VALUES ('reader')`); err != nil {
		t.Fatal(err)
	}
	var addresses []string
	for range count {
		m := &member{fleet: f, binary: binary, address: ownAddress(t)}
		f.members = append(f.members, m)
		addresses = append(addresses, m.address)
	}
	for _, m := range f.members {
		m.launch()
	}
	for _, m := range f.members {
		m.says(m.err, "msg=ready")
	}
	f.balancer = newBalancer(t, addresses) // last, so that it takes all of them for good
	f.addClients()
	return f
}

// ownAddress is one of a loopback address of its own: nothing else takes the port
// while the instance is down.
func ownAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", fmt.Sprintf("127.%d.%d.%d:0", 1+rand.IntN(250), rand.IntN(250), 2+rand.IntN(250))) //nolint:gosec // made up
	if err != nil {
		t.Skipf("there is one loopback address only: %v", err)
	}
	defer l.Close()
	return l.Addr().String()
}

// launch starts the process; it need not be ready yet.
func (m *member) launch() {
	m.fleet.t.Helper()
	command := exec.Command(m.binary, "serve")
	command.Env = cleanEnvironment("NOTIFIER_DATABASE_URL="+m.fleet.database, "NOTIFIER_ADDR="+m.address,
		"NOTIFIER_ADMIN_ADDR=127.0.0.1:0", "NOTIFIER_JWT_SECRET="+fleetSecret, "NOTIFIER_TRUSTED_PROXIES=127.0.0.0/8",
		"NOTIFIER_SYSADM_TYPES=*", "NOTIFIER_PING_INTERVAL=2s", "NOTIFIER_DRAIN=1s", "NOTIFIER_CLOSE_TIMEOUT=2s")
	m.process = follow(m.fleet.t, command)
}

// up starts it and waits until it serves.
func (m *member) up() {
	m.fleet.t.Helper()
	m.launch()
	m.says(m.err, "msg=ready")
}

// kill ends it as a machine that fails does.
func (m *member) kill() {
	m.fleet.t.Helper()
	m.signal(syscall.SIGKILL)
	<-m.ended
}

// down ends it in order.
func (m *member) down() {
	m.fleet.t.Helper()
	m.signal(syscall.SIGTERM)
	if code := m.wait(); code != 0 {
		m.fleet.t.Errorf("exit code %d", code)
	}
}

func (m *member) url() string { return "http://" + m.address }

// fleetToken is one that each instance takes.
func fleetToken(t testing.TB, user string, roles ...string) string {
	t.Helper()
	claims := jwt.MapClaims{"sub": user, "exp": time.Now().Add(24 * time.Hour).Unix(), "roles": roles}
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(fleetSecret))
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// addClients makes each kind of client twice: one that is cut off from a server that
// does not answer, and one that is not.
func (f *fleet) addClients() {
	cast := func(url string) []*seamtest.Client {
		all := append(seamtest.Cast(f.t, f.start),
			seamtest.NewClient(f.t, seamtest.DRP{}, f.start, "*.*.*"), // those and ernius's have what is pushed, too
			seamtest.NewClient(f.t, seamtest.SSE{}, f.start, "*.*.*"))
		for _, c := range all {
			c.Token, c.Reach = fleetToken(f.t, "reader"), func() string { return url }
		}
		return all
	}
	f.moving = cast(f.balancer.moving)
	f.clients = append(cast(f.balancer.staying), f.moving...)
}

// run has clients follow and as many writers commit as it is told.
func (f *fleet) run(writers int) {
	running, endRun := context.WithCancel(f.t.Context())
	writing, endWriting := context.WithCancel(f.t.Context())
	f.endRun, f.endWriting = endRun, endWriting
	for _, c := range f.clients {
		f.running.Go(func() { c.Run(running) }) // ends with running
	}
	seamtest.StartWriters(writing, f.database, writers, &f.writing)
	for n := range 2 {
		p := &httpWriter{name: fmt.Sprint("p", n), url: f.balancer.moving, token: fleetToken(f.t, "service", "publisher")}
		f.pushers = append(f.pushers, p)
		f.writing.Go(func() { p.run(f.t.Context(), writing) }) // ends when writing has, and what it pushes is stored
	}
	f.t.Cleanup(func() {
		endWriting()
		endRun()
		f.writing.Wait()
		f.running.Wait()
	})
}

// finish ends the writers, waits until each client has had as many events as it
// should, and compares.
func (f *fleet) finish() string {
	f.t.Helper()
	f.endWriting()
	f.writing.Wait()
	all := seamtest.Committed(f.t, f.database)
	pushed := map[string]int{}
	for _, e := range all {
		if e.Key == "" {
			pushed[e.Token]++
		}
	}
	stored := 0
	for _, p := range f.pushers {
		for n := range p.stored() {
			if count := pushed[p.payload(n)]; count != 1 {
				f.t.Errorf("what was pushed as %s is there %d times", p.payload(n), count)
			}
			stored++
		}
	}
	deliveries, connections := 0, 0
	for _, c := range f.clients {
		owed := len(c.Owed(all))
		dbtest.Eventually(f.t, fmt.Sprintf("%v has %d events, not %d", c, owed, c.Count()), func() bool { return c.Count() >= owed })
	}
	f.endRun()
	f.running.Wait()
	for _, c := range f.clients {
		c.Check(f.t, all)
		deliveries += c.Count()
		connections += c.Connections()
	}
	return fmt.Sprintf("%d events, %d of them pushed with %d tries, %d clients, %d connections, %d deliveries",
		len(all), stored, f.pushers[0].count()+f.pushers[1].count(), len(f.clients), connections, deliveries)
}

// hear waits until each of the clients has had some more events, and each pusher has
// stored one more.
func (f *fleet) hear(what string, clients []*seamtest.Client) {
	f.t.Helper()
	const more = 5
	for _, p := range f.pushers {
		before := p.stored()
		dbtest.Eventually(f.t, what+": pushes are stored", func() bool { return p.stored() > before })
	}
	before := make([]int, len(clients))
	for i, c := range clients {
		before[i] = c.Count()
	}
	for i, c := range clients {
		dbtest.Eventually(f.t, fmt.Sprintf("%s: %v hears more", what, c), func() bool { return c.Count() >= before[i]+more })
	}
}

// httpWriter publishes by HTTP, one event after the other, each under a key, and again
// until it is told that it is stored.
type httpWriter struct {
	name, url, token string

	mu          sync.Mutex
	done, tries int
}

func (p *httpWriter) payload(n int) string { return fmt.Sprintf(`"%s %d"`, p.name, n) }

// run goes on until writing ends.
func (p *httpWriter) run(ctx, writing context.Context) {
	for n := 0; writing.Err() == nil; n++ {
		for ctx.Err() == nil && !p.push(ctx, p.url, n) {
			pausing(ctx, 10*time.Millisecond)
		}
		p.mu.Lock()
		p.done = n + 1
		p.mu.Unlock()
		pausing(ctx, 20*time.Millisecond)
	}
}

func pausing(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// push tells whether it is stored.
func (p *httpWriter) push(ctx context.Context, url string, n int) bool {
	p.mu.Lock()
	p.tries++
	p.mu.Unlock()
	return pushOnce(ctx, url, p.token, fmt.Sprintf("%s-%d", p.name, n),
		fmt.Sprintf(`[{"accessid":"reader","created_at":%d,"payload":%s}]`, n, p.payload(n))) == http.StatusOK
}

func (p *httpWriter) stored() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.done
}

func (p *httpWriter) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.tries
}

// pushOnce shows a token if there is one, and returns the status, 0 if there is no answer.
func pushOnce(ctx context.Context, url, token, key, list string) int {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/push_events", strings.NewReader(list))
	if err != nil {
		return 0
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Idempotency-Key", key)
	answer, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(request)
	if err != nil {
		return 0
	}
	answer.Body.Close()
	return answer.StatusCode
}
