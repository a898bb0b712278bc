package deploy_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	// followers are as many clients as are connected through the balancer.
	followers = 8
	user      = "ann"
)

// stack is compose.yaml as it runs in a test.
type stack struct {
	*project
	site
	network    string // the first three numbers of the balancer's network
	prometheus string // where it is reached
	secrets    []string
	sent       int // events published so far, numbered from 1
	clients    []*follower
}

func startStack(t *testing.T) *stack {
	t.Helper()
	image := notifierImage(t)
	needImage(t, cmp.Or(os.Getenv("POSTGRES_IMAGE"), "postgres:17-bookworm"))
	needImage(t, cmp.Or(os.Getenv("HAPROXY_IMAGE"), "haproxy:3.2"))
	s := &stack{
		network: fmt.Sprintf("172.31.%d", os.Getpid()%250), prometheus: freeAddress(t),
		// What needs quoting in URLs, shells and SQL is a good password, too.
		secrets: []string{"super'user$1", "mi/gra:te@2#", "ser?ve%3&\"", "a secret of more than thirty-two bytes"},
	}
	s.address = freeAddress(t)
	s.project = newProject(t,
		"NOTIFIER_IMAGE="+image, "NOTIFIER_NETWORK="+s.network, "NOTIFIER_PUBLISH="+s.address, "PROMETHEUS_PUBLISH="+s.prometheus,
		"NOTIFIER_FILES=4096", // the most that an engine may give is less on some machines than in production
		"POSTGRES_PASSWORD="+s.secrets[0], "NOTIFIER_MIGRATE_PASSWORD="+s.secrets[1],
		"NOTIFIER_DB_PASSWORD="+s.secrets[2], "NOTIFIER_JWT_SECRET="+s.secrets[3])
	begun := time.Now()
	s.run("up", "-d", "--no-build")
	for _, service := range []string{"postgres", "notifier-1", "notifier-2", "balancer"} {
		eventually(t, service+" is healthy", func() bool { return s.inspect(service, "{{.State.Health.Status}}") == "healthy" })
	}
	t.Logf("all are healthy after %.0f s", time.Since(begun).Seconds())
	s.token = s.tokenOf("root", "--role", "admin,publisher")
	return s
}

// tokenOf has an instance sign a token.
func (s *stack) tokenOf(user string, more ...string) string {
	s.t.Helper()
	return s.run(append([]string{"exec", "-T", "notifier-1", "/usr/local/bin/notifier", "token", "--user", user}, more...)...)
}

// TestCompose brings all of compose.yaml up, and has events go through it while
// instances stop, hang and start again.
func TestCompose(t *testing.T) {
	s := startStack(t)
	s.confined(t)
	s.run("run", "--rm", "-T", "migrate", "user", "add", user, "--no-password")
	token := s.tokenOf(user)
	s.secrets = append(s.secrets, token, s.token)
	for range followers {
		s.clients = append(s.clients, follow(t, s.site, user, token))
	}
	s.reconnected(t, 1)
	at := s.connected(t)
	if len(at["notifier-1"]) == 0 || len(at["notifier-2"]) == 0 {
		t.Fatalf("not both instances have clients: %v", at)
	}
	for instance, addresses := range at {
		if slices.Contains(addresses, s.network+".10") || slices.Contains(addresses, "9.9.9.9") {
			t.Errorf("%s takes the balancer's address for the clients', or what they made up: %v", instance, addresses)
		}
	}
	s.publishAndExpect(t, 10)

	stopped := time.Now()
	stop := s.background("stop", "notifier-1")
	s.publishUntil(t, stop)
	t.Logf("stopped in %.1f s", time.Since(stopped).Seconds())
	s.allAt(t, "notifier-2")
	s.publishAndExpect(t, 10)
	if code := s.inspect("notifier-1", "{{.State.ExitCode}}"); code != "0" {
		t.Errorf("stopped, it ended with %s", code)
	}
	s.saidGoodbye(t, len(at["notifier-1"]))

	s.run("start", "notifier-1")
	eventually(t, "notifier-1 is healthy again", func() bool { return s.inspect("notifier-1", "{{.State.Health.Status}}") == "healthy" })
	hung := time.Now()
	s.run("pause", "notifier-2")
	s.publishUntil(t, nil)
	s.allAt(t, "notifier-1")
	t.Logf("all clients of an instance that hangs had another after %.1f s", time.Since(hung).Seconds())
	s.publishAndExpect(t, 10)
	s.run("unpause", "notifier-2")

	s.measured(t)
	s.keptSecrets(t)
}

// confined looks at the processes as the kernel has them.
func (s *stack) confined(t *testing.T) {
	t.Helper()
	for _, service := range []string{"notifier-1", "notifier-2", "balancer"} {
		if got := s.inspect(service, "{{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}} {{.HostConfig.CapAdd}}"); got != "true [ALL] []" {
			t.Errorf("%s: read-only, capabilities dropped and added: %s", service, got)
		}
		status, err := os.ReadFile("/proc/" + s.inspect(service, "{{.State.Pid}}") + "/status")
		if err != nil {
			t.Logf("the engine is elsewhere: %v", err)
			continue
		}
		fields := map[string]string{}
		for line := range strings.Lines(string(status)) {
			name, value, _ := strings.Cut(line, ":")
			fields[name] = strings.Join(strings.Fields(value), " ")
		}
		if strings.HasPrefix(fields["Uid"], "0 ") || fields["CapEff"] != "0000000000000000" || fields["NoNewPrivs"] != "1" {
			t.Errorf("%s: users %s, capabilities %s, no new privileges %s", service, fields["Uid"], fields["CapEff"], fields["NoNewPrivs"])
		}
	}
	roles := s.run("exec", "-T", "postgres", "psql", "-U", "postgres", "-d", "notifier", "-Atc",
		`SELECT DISTINCT usename, (SELECT rolsuper OR rolcreaterole OR rolcreatedb FROM pg_roles WHERE rolname = usename)
		FROM pg_stat_activity WHERE usename <> 'postgres'`)
	if roles != "notifier|f" {
		t.Errorf("roles that are connected, and whether they may more than they need: %s", roles)
	}
}

// background runs a command of compose, and closes the channel when it has ended.
func (s *stack) background(arguments ...string) <-chan struct{} {
	ended := make(chan struct{})
	go func() { // ends with the command; publishUntil waits for it
		defer close(ended)
		s.try(arguments...)
	}()
	return ended
}

// try is run for where a failure must not end the test's goroutine.
func (s *stack) try(arguments ...string) {
	all := append(append(s.command[1:len(s.command):len(s.command)], "-f", "../../../compose.yaml"), arguments...)
	command := exec.CommandContext(s.t.Context(), s.command[0], all...)
	command.Env = s.env
	if out, err := command.CombinedOutput(); err != nil {
		s.t.Errorf("%s: %v\n%s", command, err, out)
	}
}

// publishUntil publishes until something has ended, and ten more.
func (s *stack) publishUntil(t *testing.T, ended <-chan struct{}) {
	t.Helper()
	for going := ended != nil; going; {
		s.sent++
		s.publish(t, user, s.sent)
		select {
		case <-ended:
			going = false
		default:
		}
	}
	for range 10 {
		s.sent++
		s.publish(t, user, s.sent)
	}
}

// publishAndExpect publishes so many events more, and wants each client to have had
// all that there ever were, once and in order.
func (s *stack) publishAndExpect(t *testing.T, more int) {
	t.Helper()
	for range more {
		s.sent++
		s.publish(t, user, s.sent)
	}
	want := make([]int, s.sent)
	for i := range want {
		want[i] = i + 1
	}
	for i, f := range s.clients {
		eventually(t, fmt.Sprintf("client %d has all", i), func() bool { events, _ := f.has(); return events >= s.sent })
		f.mu.Lock()
		if !slices.Equal(f.got, want) || f.verdicts["gap"] > 0 {
			t.Errorf("client %d got %v, verdicts %v, endings %v", i, f.got, f.verdicts, f.endings)
		}
		f.mu.Unlock()
	}
	t.Logf("%d clients have had %d events, each once", len(s.clients), s.sent)
}

// reconnected waits until each client has begun so many connections.
func (s *stack) reconnected(t *testing.T, times int) {
	t.Helper()
	for i, f := range s.clients {
		eventually(t, fmt.Sprintf("client %d is subscribed", i), func() bool { _, n := f.has(); return n >= times })
	}
}

// allAt waits until an instance has all clients.
func (s *stack) allAt(t *testing.T, instance string) {
	t.Helper()
	eventually(t, instance+" has all clients", func() bool { return len(s.connected(t)[instance]) == followers })
}

// saidGoodbye looks whether the clients of an instance that was stopped were told.
func (s *stack) saidGoodbye(t *testing.T, many int) {
	t.Helper()
	told := 0
	for _, f := range s.clients {
		f.mu.Lock()
		told += f.endings["1012 restarting"]
		f.mu.Unlock()
	}
	if told != many {
		t.Errorf("%d clients were told of the end, of %d", told, many)
	}
}

// measured brings the dashboards' Prometheus up, if there is its image.
func (s *stack) measured(t *testing.T) {
	t.Helper()
	image := cmp.Or(os.Getenv("PROMETHEUS_IMAGE"), "prom/prometheus:v3.5.0")
	if exec.CommandContext(t.Context(), "docker", "image", "inspect", image).Run() != nil {
		t.Logf("no image %s: scraping is not tried", image)
		return
	}
	s.run("--profile", "dashboards", "up", "-d", "--no-deps", "--no-build", "prometheus")
	eventually(t, "Prometheus has both instances", func() bool {
		var told struct {
			Data struct {
				ActiveTargets []struct{ ScrapeURL, Health string }
			}
		}
		s.read(t, "/api/v1/targets", &told)
		up := 0
		for _, target := range told.Data.ActiveTargets {
			if target.Health == "up" {
				up++
			}
		}
		return up == 2
	})
	eventually(t, "the rules are evaluated", func() bool {
		var told struct {
			Data struct {
				Groups []struct {
					Rules []struct{ Name, Health, LastError string }
				}
			}
		}
		s.read(t, "/api/v1/rules", &told)
		evaluated := len(told.Data.Groups) > 0
		for _, group := range told.Data.Groups {
			for _, rule := range group.Rules {
				if rule.Health == "err" {
					t.Fatalf("%s: %s", rule.Name, rule.LastError)
				}
				evaluated = evaluated && rule.Health == "ok"
			}
		}
		return evaluated
	})
}

// read asks Prometheus; what does not answer yet says nothing.
func (s *stack) read(t *testing.T, path string, into any) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.prometheus+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return
	}
	defer answer.Body.Close()
	if text, err := io.ReadAll(answer.Body); err == nil {
		_ = json.Unmarshal(text, into)
	}
}

// keptSecrets looks for them in all that was logged.
func (s *stack) keptSecrets(t *testing.T) {
	t.Helper()
	logs := s.run("logs", "--no-color")
	for i, secret := range s.secrets {
		if strings.Contains(logs, secret) {
			t.Errorf("secret %d is in the logs", i)
		}
	}
	for _, want := range []string{`"msg":"stopping"`, "GET /subscribe_to_events", `"msg":"migration done"`} {
		if !strings.Contains(logs, want) {
			t.Errorf("%s is not in the logs", want)
		}
	}
}
