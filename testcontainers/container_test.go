package testcontainers

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/client"
)

// needEngine skips a test of containers where there can't be any: no engine, or no
// image at hand nor in reach.
func needEngine(t *testing.T, image string) {
	t.Helper()
	if err := engine(t.Context()); err != nil {
		t.Skip(err)
	}
	err := withEngine(func(engine client.APIClient) error {
		_, err := engine.ImageInspect(t.Context(), image)
		return err
	})
	if err != nil {
		t.Skipf("no image %s: %v", image, err)
	}
}

func TestContainer_PostgresIsSharedAndCrashes(t *testing.T) {
	needEngine(t, defaultImage)
	contained := New(DatabaseURL(""), Image(defaultImage), PostgresSettings(map[string]string{"max_connections": "123"}))
	var first string
	for _, options := range [][]StartOption{nil, nil, {OwnPostgres()}} {
		begun := time.Now()
		n := contained.Start(t, options...)
		t.Logf("started in %v", time.Since(begun))
		var limit, address string
		err := n.Pool().QueryRow(t.Context(), `SELECT current_setting('max_connections'), current_setting('listen_addresses')`).Scan(&limit, &address)
		if err != nil || limit != "123" || address != "*" {
			t.Errorf("max_connections %s, listen_addresses %s, %v", limit, address, err)
		}
		host, _, _ := strings.Cut(strings.TrimPrefix(n.DatabaseURL(), "postgres://"), "/")
		if first == "" {
			first = host
		}
		if shared := options == nil; shared != (host == first) {
			t.Errorf("a test with %d options at %s, the first was at %s", len(options), host, first)
		}
		n.User("ann")
		ann := n.SSE(t, "ann")
		if options != nil {
			n.CrashPostgres()
			n.RestartPostgres()
		}
		n.Exec(`SELECT notifier.publish('order', recipient => 'ann')`)
		ann.Expect(Want{Type: "order"})
	}
}

// dieEnv makes TestContainer_Die, in a process of its own, die with a container running.
const dieEnv = "TESTCONTAINERS_DIE"

func TestContainer_Die(t *testing.T) {
	if os.Getenv(dieEnv) == "" {
		t.Skip("only as a process of its own")
	}
	c, err := startContainer(t.Context(), defaultImage, nil)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println("container", c.GetContainerID())
	bufio.NewScanner(os.Stdin).Scan() // to be killed
}

// A killed process' container goes, if not by a watchdog then with the next one.
func TestContainer_DoesNotOutliveItsProcessForLong(t *testing.T) {
	needEngine(t, defaultImage)
	for name, path := range map[string]string{"with the docker command": os.Getenv("PATH"), "without": t.TempDir()} {
		t.Run(name, func(t *testing.T) {
			id := orphan(t, path)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			for exists(t, id) {
				if ctx.Err() != nil {
					t.Fatal("it is still there")
				}
				if path != os.Getenv("PATH") {
					reap(ctx)
				}
				pause(ctx)
			}
		})
	}
}

// orphan kills a process that has a container and returns the container's id.
func orphan(t *testing.T, path string) (id string) {
	t.Helper()
	victim := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestContainer_Die$")
	victim.Env = append(os.Environ(), dieEnv+"=1", "PATH="+path, "TESTCONTAINERS_RYUK_DISABLED=true")
	stdin, err := victim.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	stdout, err := victim.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(stdout); id == "" && lines.Scan(); {
		id, _ = strings.CutPrefix(lines.Text(), "container ")
	}
	_ = victim.Process.Kill()
	_ = victim.Wait()
	if id == "" || !exists(t, id) && path != os.Getenv("PATH") {
		t.Fatalf("the victim had no container (%q)", id)
	}
	return id
}

func exists(t *testing.T, id string) bool {
	t.Helper()
	return withEngine(func(engine client.APIClient) error {
		_, err := engine.ContainerInspect(t.Context(), id, client.ContainerInspectOptions{})
		return err
	}) == nil
}

func TestOrphaned_OnlyWhoseProcessWasHereAndIsGone(t *testing.T) {
	t.Parallel()
	name, _ := os.Hostname()
	gone := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^$")
	if err := gone.Run(); err != nil {
		t.Fatal(err)
	}
	for label, want := range map[string]bool{
		owner(): false,
		fmt.Sprintf("%s %d", name, gone.Process.Pid):   true,
		fmt.Sprintf("%s.x %d", name, gone.Process.Pid): false,
		"": false, name + " x": false,
	} {
		if orphaned(label) != want {
			t.Errorf("%q: orphaned %t", label, !want)
		}
	}
}

// TestImage_RunsAsItsContainer needs the image of notifier itself.
func TestImage_RunsAsItsContainer(t *testing.T) {
	image := os.Getenv("NOTIFIER_TEST_IMAGE")
	if image == "" {
		t.Skip("NOTIFIER_TEST_IMAGE names no image of notifier")
	}
	needEngine(t, image)
	n := New(NotifierImage(image)).Start(t)
	n.User("ann")
	ann, all := n.SSE(t, "ann"), n.Sysadm(t, "ann", "order")
	publish := func() {
		n.Exec(`SELECT notifier.publish('order', recipient => 'ann')`)
		ann.Expect(Want{Type: "order"})
		all.Expect(Want{Type: "order"})
	}
	publish()
	for _, again := range []func(){n.Restart, func() { n.Kill(); n.Start() }} {
		again()
		ann.Resume()
		all.Resume()
		publish()
	}
	n.KillListeners()
	publish()
}

func TestStartPostgres_TellsWhyThereIsNone(t *testing.T) {
	t.Parallel()
	if _, err := startPostgres(t.Context(), server{image: "notifier.invalid/none:1"}); err == nil {
		t.Error("started an image that is none")
	}
	if err := (given{}).Crash(t.Context()); !errors.Is(err, errUnowned) {
		t.Errorf("crashed somebody else's server: %v", err)
	}
}
