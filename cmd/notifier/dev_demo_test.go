package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.com/notifier/db/dbtest"
	"github.com/coder/websocket"
)

// wscat stands in for the program of that name, with those of its options that
// dev prints: npx would fetch the real one from the network.
func wscat(args []string) int {
	flags := flag.NewFlagSet("wscat", flag.ContinueOnError)
	url, message, ca := flags.String("c", "", ""), flags.String("x", "", ""), flags.String("ca", "", "")
	wait := flags.Int("w", 0, "")
	if len(args) == 0 || args[0] != "wscat" || flags.Parse(args[1:]) != nil || flags.NArg() > 0 {
		return exitUsage
	}
	trusted := x509.NewCertPool()
	if pem, err := os.ReadFile(*ca); err == nil {
		trusted.AppendCertsFromPEM(pem)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trusted}} //nolint:gosec // the newest version there is
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(*wait)*time.Second)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, *url, &websocket.DialOptions{HTTPClient: &http.Client{Transport: transport}})
	if err == nil {
		defer conn.CloseNow()
		err = conn.Write(ctx, websocket.MessageText, []byte(*message))
	}
	for err == nil {
		var text []byte
		if _, text, err = conn.Read(ctx); err == nil {
			fmt.Printf("%s\n", text)
		}
	}
	fmt.Fprintln(os.Stderr, err)
	return exitFailed
}

// printed returns the command lines that dev prints which hold a text.
func (p *process) printed(text string) (lines []string) {
	for line := range strings.Lines(p.out.String()) {
		if command, found := strings.CutPrefix(line, "  "); found && strings.Contains(line, text) {
			lines = append(lines, strings.TrimSpace(command))
		}
	}
	return lines
}

// pasted is a command line on its way in a shell. The program of the tests
// stands for npx, and ends with the test.
func pasted(t *testing.T, line string) *exec.Cmd {
	t.Helper()
	bin := t.TempDir()
	itself, err := filepath.Abs(os.Args[0])
	if err == nil {
		err = os.Symlink(itself, filepath.Join(bin, "npx"))
	}
	if err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), "sh", "-euc", line)
	command.Env = cleanEnvironment("PATH=" + bin + ":" + os.Getenv("PATH"))
	return command
}

// TestDev_PrintedLinesWork pastes every line that dev prints into a shell, with
// and without TLS: each protocol tells of what the last lines cause.
func TestDev_PrintedLinesWork(t *testing.T) {
	t.Parallel()
	for _, tool := range []string{"psql", "curl"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("no %s", tool)
		}
	}
	for name, args := range map[string][]string{
		"plain": nil,
		"TLS":   {"--addr=tls://127.0.0.1:0", "--tls-self-signed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, _, _ := dev(t, devFolder(t), args...)
			tells := map[string]string{ // of the issue that is ann's, or of the text for her
				"/events?topic=":       `"type":"issueUpdate"`,
				"/subscribe_to_events": `"comments" : `,
				`"attach"`:             `{"type":"issueUpdate","id":"1",`,
				"/api/v3/ws":           `"Type":"issueUpdate"`,
				"/sysadm":              `"name":"issueUpdate"`,
				" watch ":              "hello",
			}
			type follower struct {
				*process
				line, want string
			}
			var followers []follower
			for mark, want := range tells {
				lines := p.printed(mark)
				if len(lines) == 0 {
					t.Errorf("no line with %s", mark)
				}
				for _, line := range lines {
					followers = append(followers, follower{follow(t, pasted(t, "exec env "+line)), line, want})
				}
			}
			if len(followers) != 7 {
				t.Errorf("%d lines that follow, want 7", len(followers))
			}
			causes := append(p.printed("UPDATE demo"), p.printed(" push ")...)
			dbtest.Eventually(t, "every line tells of what happens", func() bool {
				for _, line := range causes {
					if out, err := pasted(t, line).CombinedOutput(); err != nil {
						t.Fatalf("%s: %v\n%s", line, err, out)
					}
				}
				for _, f := range followers {
					if !strings.Contains(f.out.String(), f.want) {
						return false
					}
				}
				return true
			})
			for _, line := range append(p.printed("INSERT INTO"), p.printed("token --user")...) {
				out, err := pasted(t, line).CombinedOutput()
				if err != nil || len(out) == 0 {
					t.Errorf("%s: %v\n%s", line, err, out)
				}
			}
			if known := len(followers) + len(causes) + 2; len(p.printed(" "))-known != 4 { // the database and three users
				t.Errorf("lines that were not tried: %d are known of\n%s", known, p.out)
			}
		})
	}
}

// TestDev_DemoUsersStayWhoTheyAre: tokens and passwords that dev has printed
// count after a restart, and a user that was there before keeps its password.
func TestDev_DemoUsersStayWhoTheyAre(t *testing.T) {
	t.Parallel()
	folder := devFolder(t)
	first, _, database := dev(t, folder, "--activity=50/s")
	secret := filepath.Join(folder, "jwt-secret")
	if info, err := os.Stat(secret); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the secret's file: %v, %v", info.Mode(), err)
	}
	conn := dbtest.Connect(t, database)
	dbtest.Eventually(t, "there is activity", func() bool {
		var n int
		if err := conn.QueryRow(t.Context(), `SELECT count(*) FROM demo.issues WHERE reporter = 'activity'`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n > 2
	})
	setup := `
		DELETE FROM notifier.users WHERE user_id = 'ben';
		INSERT INTO notifier.users (user_id) VALUES ('ben')`
	if _, err := conn.Exec(t.Context(), setup); err != nil {
		t.Fatal(err)
	}
	conn.Close(t.Context())
	first.signal(syscall.SIGTERM)
	if code := first.wait(); code != 0 {
		t.Errorf("code %d", code)
	}
	second, at, _ := dev(t, folder)
	ann := first.printed("ann    member")
	if len(ann) != 1 || second.printed("ann    member")[0] != ann[0] {
		t.Errorf("ann was %q, and is %q", ann, second.printed("ann    member"))
	}
	if ben := second.printed("ben    member"); !strings.Contains(ben[0], "as you have set it") {
		t.Errorf("ben is %q", ben)
	}
	_, rest, _ := strings.Cut(first.printed("/events?topic")[0], "Bearer ")
	token, _, _ := strings.Cut(rest, "'")
	_, password, _ := strings.Cut(ann[0], "password ")
	if got := statusOf(t, at+"/api/v3/users/ann/token", func(r *http.Request) { r.SetBasicAuth("ann", password) }); got != http.StatusOK {
		t.Errorf("the password: status %d", got)
	}
	for shown, want := range map[string]int{token: http.StatusOK, token + "x": http.StatusForbidden} {
		if got := statusOf(t, at+"/api/v3/info", func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+shown) }); got != want {
			t.Errorf("%s: status %d, want %d", shown, got, want)
		}
	}
}

// statusOf is status for a request that shows who it is from.
func statusOf(t *testing.T, url string, change func(*http.Request)) int {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	change(request)
	response, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	return response.StatusCode
}

func TestKeptSecret(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "secret")
	first, err := keptSecret(path)
	if err != nil || len(first) < 32 {
		t.Fatalf("%q, %v", first, err)
	}
	if again, err := keptSecret(path); err != nil || again != first {
		t.Errorf("%q and then %q, %v", first, again, err)
	}
	if err := os.WriteFile(path, []byte("short\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := keptSecret(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("a short one: %v", err)
	}
	if _, err := keptSecret(filepath.Join(path, "below")); err == nil || errors.Is(err, os.ErrNotExist) {
		t.Errorf("a place that can't be: %v", err)
	}
}

func TestParseRate(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		"off": 0, "5/s": 200 * time.Millisecond, "2/m": 30 * time.Second, "1/h": time.Hour, "1000/s": time.Millisecond, "60000/m": time.Millisecond,
	} {
		if got, err := parseRate(text); err != nil || got != want {
			t.Errorf("%q: %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "5", "5/", "0/s", "-1/s", "1001/s", "60001/m", "5/d", "x/s", "5/s/s", "9223372036854775808/s"} {
		if got, err := parseRate(text); err == nil {
			t.Errorf("accepted %q as %v", text, got)
		}
	}
}
