package seamtest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"example.com/notifier/db/dbtest"
)

// tortureTime is NOTIFIER_TORTURE, or in an ordinary run a little.
func tortureTime(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("NOTIFIER_TORTURE")
	if text == "" {
		return 5 * time.Second
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
	start := Prepare(t, dbtest.Connect(t, url))
	servers := []*process{newProcess(t, url), newProcess(t, url)}
	var proxies []*dbtest.Proxy
	for _, s := range servers {
		proxies = append(proxies, dbtest.NewProxy(t, "http://"+s.address))
	}
	clients := newClients(t, proxies, start)
	running, stopClients := context.WithCancel(t.Context())
	var following, writing sync.WaitGroup
	for _, c := range clients {
		following.Go(func() { c.Run(running) }) // ends with running
	}
	writers, stopWriters := context.WithCancel(t.Context())
	StartWriters(writers, url, 16, &writing)
	faults := torment(t, time.Now().Add(tortureTime(t)), servers, proxies, cluster)
	stopWriters()
	writing.Wait()
	all := Committed(t, url)
	for _, c := range clients {
		dbtest.Eventually(t, fmt.Sprintf("%v has as many events as there are", c), func() bool {
			return c.Count() >= len(c.Owed(all))
		})
	}
	stopClients()
	following.Wait()
	cuts, had := 0, 0
	for _, c := range clients {
		c.Check(t, all)
		cuts += c.cuts
		had += len(c.had)
	}
	t.Logf("%d events, %d clients, %d deliveries, %d connections, %s", len(all), len(clients), had, cuts, faults)
}

func newClients(t *testing.T, proxies []*dbtest.Proxy, start string) []*Client {
	reach := func() string { return proxies[rand.IntN(len(proxies))].URL() } //nolint:gosec // made up
	var clients []*Client
	for range 3 {
		for _, c := range Cast(t, start) {
			c.Reach, c.Restless = reach, true
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
