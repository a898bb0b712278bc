package seamtest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"example.com/notifier/db/dbtest"
	"github.com/jackc/pgx/v5"
)

// tortureTime is NOTIFIER_TORTURE, or in an ordinary run a little.
func tortureTime(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("NOTIFIER_TORTURE")
	if text == "" {
		return 10 * time.Second
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("NOTIFIER_TORTURE: %v", err)
	}
	return d
}

// TestTorture_NoSeam has clients of every protocol follow a log from the cursor
// that the database gave, while their sockets are closed, stalled and reset, the
// servers killed, the database crashed, and sixteen writers commit. Each must have
// had exactly what was committed for its topics, once, and each object's events in
// their order.
func TestTorture_NoSeam(t *testing.T) {
	cluster := dbtest.NewCluster(t, dbtest.Durable()) // what was read must survive a crash
	url := cluster.URL("notifier")
	conn := dbtest.Connect(t, url)
	execute(t, conn, `CREATE TABLE objects (key int PRIMARY KEY, version int NOT NULL DEFAULT 0)`)
	execute(t, conn, fmt.Sprintf(`INSERT INTO objects (key) SELECT generate_series(0, %d)`, keyCount+2))
	execute(t, conn, `INSERT INTO notifier.events (type) VALUES ('before')`)
	var start string
	if err := conn.QueryRow(t.Context(), `SELECT notifier.position()`).Scan(&start); err != nil {
		t.Fatal(err)
	}
	servers := []*process{newProcess(t, url), newProcess(t, url)}
	var proxies []*dbtest.Proxy
	for _, s := range servers {
		proxies = append(proxies, dbtest.NewProxy(t, "http://"+s.address))
	}
	clients := newClients(t, proxies, start)
	running, stopClients := context.WithCancel(t.Context())
	var following, writing sync.WaitGroup
	for _, c := range clients {
		following.Go(func() { c.run(running) }) // ends with running
	}
	writers, stopWriters := context.WithCancel(t.Context())
	startWriters(writers, url, &writing)
	faults := torment(t, time.Now().Add(tortureTime(t)), servers, proxies, cluster)
	stopWriters()
	writing.Wait()
	all := committed(t, url)
	for _, c := range clients {
		dbtest.Eventually(t, fmt.Sprintf("a client of %T has as many events as there are", c.dialect), func() bool {
			return c.count() >= len(c.owed(all))
		})
	}
	stopClients()
	following.Wait()
	cuts, had := 0, 0
	for _, c := range clients {
		c.check(t, all)
		cuts += c.cuts
		had += len(c.had)
	}
	t.Logf("%d events, %d clients, %d deliveries, %d connections, %s", len(all), len(clients), had, cuts, faults)
}

func execute(t *testing.T, conn *pgx.Conn, sql string) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatal(err)
	}
}

func newClients(t *testing.T, proxies []*dbtest.Proxy, start string) []*client {
	objects := []string{"loud 1", "loud 3", "loud 4", fmt.Sprintf("quiet %d", keyCount)}
	var clients []*client
	for n := range 3 {
		for _, c := range []*client{
			{dialect: ernius{}},
			{dialect: airlay{}, topics: objects},
			{dialect: drp{}, topics: []string{"loud.save.1,2,3", "*.*.3,4,5"}},
			{dialect: drp{}, topics: []string{"quiet.*.*"}},
			{dialect: sse{}, topics: []string{"loud.save.1,2,3", "*.*.3,4,5"}},
			{dialect: sse{}, topics: []string{"quiet.*.*"}},
			{dialect: sysadm{}, topics: []string{"loud", "quiet"}},
			{dialect: sysadm{}, topics: []string{"quiet"}},
		} {
			c.t, c.proxies = t, proxies
			c.rng = rand.New(rand.NewPCG(uint64(n), uint64(len(clients)))) //nolint:gosec // made up
			c.cursors = map[string]string{"": start}
			for _, topic := range c.topics {
				c.cursors[topic] = start
			}
			clients = append(clients, c)
		}
	}
	return clients
}

// torment does harm until the deadline, and mends it all.
func torment(t *testing.T, deadline time.Time, servers []*process, proxies []*dbtest.Proxy, cluster *dbtest.Cluster) string {
	t.Helper()
	rng := rand.New(rand.NewPCG(3, 4)) //nolint:gosec // made up
	var kills, stops, stalls, resets, crashes int
	for time.Now().Before(deadline) {
		pause(t.Context(), time.Duration(rng.IntN(600))*time.Millisecond)
		which := rng.IntN(len(servers))
		switch n := rng.IntN(20); {
		case n < 4:
			servers[which].end(syscall.SIGKILL)
			servers[which].start()
			kills++
		case n < 6:
			servers[which].end(syscall.SIGTERM)
			servers[which].start()
			stops++
		case n < 12:
			proxies[which].Cut()
			resets++
		case n < 18:
			proxies[which].Stall()
			pause(t.Context(), time.Duration(rng.IntN(300))*time.Millisecond)
			proxies[which].Resume()
			stalls++
		case n < 19:
			if err := cluster.Crash(); err != nil {
				t.Fatal(err)
			}
			if err := cluster.Restart(t.Context()); err != nil {
				t.Fatal(err)
			}
			crashes++
		}
	}
	return fmt.Sprintf("%d servers killed, %d restarted, %d times all sockets stalled, %d reset, %d database crashes",
		kills, stops, stalls, resets, crashes)
}

// event is what was committed.
type event struct {
	id             int64
	eventType, key string
	token          string
}

func committed(t *testing.T, url string) []event {
	t.Helper()
	rows, err := dbtest.Connect(t, url).Query(t.Context(), `SELECT id, type, key, payload::text FROM notifier.events WHERE type <> 'before' ORDER BY id`)
	if err != nil {
		t.Fatal(err)
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (e event, err error) {
		return e, row.Scan(&e.id, &e.eventType, &e.key, &e.token)
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func (c *client) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.had)
}

// owed returns what the client should have had.
func (c *client) owed(all []event) map[string]event {
	owed := map[string]event{}
	for _, e := range all {
		if wants(c.topics, e) {
			owed[e.token] = e
		}
	}
	return owed
}

func wants(topics []string, e event) bool {
	return len(topics) == 0 || slices.ContainsFunc(topics, func(topic string) bool {
		switch topic {
		case e.eventType, e.eventType + " " + e.key, e.eventType + ".*.*":
			return true
		case "loud.save.1,2,3":
			return e.eventType == "loud" && slices.Contains([]string{"1", "2", "3"}, e.key)
		case "*.*.3,4,5":
			return slices.Contains([]string{"3", "4", "5"}, e.key)
		}
		return false
	})
}

func (c *client) check(t *testing.T, all []event) {
	t.Helper()
	missing := c.owed(all)
	last := map[string]int64{}
	for _, token := range c.had {
		e, ok := missing[token]
		if !ok {
			t.Errorf("%T %v: %s came twice, or is none of its", c.dialect, c.topics, token)
			continue
		}
		delete(missing, token)
		if e.id < last[e.key] {
			t.Errorf("%T %v: event %d of %s came after %d", c.dialect, c.topics, e.id, e.key, last[e.key])
		}
		last[e.key] = e.id
	}
	for _, e := range missing {
		t.Errorf("%T %v: event %d of %s %s is missing", c.dialect, c.topics, e.id, e.eventType, e.key)
	}
}
