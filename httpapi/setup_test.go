package httpapi_test

import (
	"bufio"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/notifier/httpapi"
	"example.com/notifier/notifier"
)

// patience is how long a test waits for a fact before it gives up.
const patience = time.Minute

// store keeps events in memory and feeds the hub as a database would.
type store struct {
	hub *notifier.Hub

	mu           sync.Mutex
	xid          uint64
	events       []*notifier.Event
	publications []notifier.Publication
	fault        error          // what every call returns
	broken       error          // what ends a replay at its next page
	replaying    func(page int) // called, unlocked, before each page of a replay
	pageSize     int            // of a replay; 0: all in one page
	looks        atomic.Int64   // how often the newest event was looked for

	accountsMu    sync.Mutex // apart: the hub asks while mu is held
	accounts      map[string]notifier.Credentials
	sessions      map[notifier.Account]time.Time
	sessionsFault error // of asking when they end
}

func position(xmax uint64) notifier.Position {
	p, err := notifier.ParsePosition(fmt.Sprintf("%d:%d:", xmax, xmax))
	if err != nil {
		panic(err)
	}
	return p
}

func newStore() *store {
	s := &store{hub: notifier.NewHub(notifier.HubConfig{}), xid: 100}
	s.hub.Start(notifier.Beginning{Position: position(s.xid)})
	return s
}

func (s *store) setFault(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = err
}

func (s *store) published() []notifier.Publication {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.publications)
}

// Admit knows every user and forbids nothing.
func (s *store) Admit(context.Context, string, string, string) (notifier.Admission, error) {
	return notifier.Admission{Exists: true, MayRead: true}, nil
}

// Resumable never finds a gap.
func (s *store) Resumable(context.Context, notifier.Cursor) (bool, error) { return true, nil }

// UserCredentials returns what setAccount has set.
func (s *store) UserCredentials(_ context.Context, user string) (notifier.Credentials, bool, error) {
	s.mu.Lock()
	fault := s.fault
	s.mu.Unlock()
	s.accountsMu.Lock()
	defer s.accountsMu.Unlock()
	c, found := s.accounts[user]
	return c, found, fault
}

// AccountGenerations is as of a position that is never too old.
func (s *store) AccountGenerations(_ context.Context, users []string) (map[string]int64, notifier.Position, error) {
	s.accountsMu.Lock()
	defer s.accountsMu.Unlock()
	found := map[string]int64{}
	for _, user := range users {
		if c, ok := s.accounts[user]; ok && !c.Disabled {
			found[user] = c.Generation
		}
	}
	return found, position(asOf), nil
}

// ExtendSession remembers the latest end.
func (s *store) ExtendSession(_ context.Context, account notifier.Account, until time.Time) error {
	s.accountsMu.Lock()
	defer s.accountsMu.Unlock()
	if s.sessions == nil {
		s.sessions = map[notifier.Account]time.Time{}
	}
	if until.After(s.sessions[account]) {
		s.sessions[account] = until
	}
	return nil
}

// SessionEnd returns it for an account that is what it was.
func (s *store) SessionEnd(_ context.Context, account notifier.Account) (time.Time, error) {
	s.accountsMu.Lock()
	defer s.accountsMu.Unlock()
	if s.sessionsFault != nil {
		return time.Time{}, s.sessionsFault
	}
	if c := s.accounts[account.User]; c.Disabled || c.Generation != account.Generation {
		return time.Time{}, nil
	}
	return s.sessions[account], nil
}

// failSessions has nobody learn when sessions end.
func (s *store) failSessions(err error) {
	s.accountsMu.Lock()
	defer s.accountsMu.Unlock()
	s.sessionsFault = err
}

// setAccount makes or changes what a user logs in to.
func (s *store) setAccount(user string, c notifier.Credentials) {
	s.accountsMu.Lock()
	defer s.accountsMu.Unlock()
	if s.accounts == nil {
		s.accounts = map[string]notifier.Credentials{}
	}
	s.accounts[user] = c
}

// Publish stores a publication in a transaction of its own and delivers it.
func (s *store) Publish(_ context.Context, p notifier.Publication) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fault != nil {
		return s.fault
	}
	s.publications = append(s.publications, p)
	var events []*notifier.Event
	for i := range p.Events {
		e := p.Events[i]
		events = append(events, &e)
	}
	s.commitLocked(events)
	return nil
}

func (s *store) commitLocked(events []*notifier.Event) {
	for _, e := range events {
		e.ID, e.TxID = int64(len(s.events)+1), s.xid
		stored := *e // a row, and not what was read of it
		s.events = append(s.events, &stored)
	}
	from := position(s.xid)
	s.xid++
	page := notifier.Page{From: from, To: position(s.xid), Events: events, Last: true}
	if err := s.hub.Publish(context.Background(), page); err != nil {
		panic(err)
	}
}

// DropUser sends the control event.
func (s *store) DropUser(_ context.Context, user, _ string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fault != nil {
		return s.fault
	}
	s.commitLocked([]*notifier.Event{{Control: notifier.ControlDropUser, Recipient: &user}})
	return nil
}

// Replay yields what is stored.
func (s *store) Replay(ctx context.Context, filters []notifier.Filter, until notifier.Point, page func([]*notifier.Event) error) error {
	s.mu.Lock()
	fault, replaying, size := s.fault, s.replaying, s.pageSize
	var due []*notifier.Event
	for _, e := range s.events {
		wanted := slices.ContainsFunc(filters, func(f notifier.Filter) bool { return f.Matches(e) })
		if e.Control == "" && wanted && until.Covers(e) {
			due = append(due, e)
		}
	}
	s.mu.Unlock()
	if fault != nil {
		return fault
	}
	slices.SortStableFunc(due, func(a, b *notifier.Event) int {
		return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.ID, b.ID))
	})
	if size == 0 {
		size = max(len(due), 1)
	}
	n := 0
	for part := range slices.Chunk(due, size) {
		if replaying != nil {
			replaying(n)
		}
		if err := s.replayBroken(); err != nil {
			return err
		}
		if err := page(part); err != nil {
			return err
		}
		n++
	}
	return ctx.Err()
}

// Latest yields what is stored, two events at a time.
func (s *store) Latest(ctx context.Context, f notifier.Filter, until notifier.Point, yield func([]*notifier.Event) (bool, error)) error {
	s.looks.Add(1)
	s.mu.Lock()
	fault := s.fault
	var due []*notifier.Event
	for _, e := range slices.Backward(s.events) {
		if e.Control == "" && f.Matches(e) && until.Covers(e) {
			due = append(due, e)
		}
	}
	s.mu.Unlock()
	if fault != nil {
		return fault
	}
	for part := range slices.Chunk(due, 2) {
		if enough, err := yield(part); enough || err != nil {
			return err
		}
	}
	return ctx.Err()
}

func (s *store) breakReplay(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken = err
}

func (s *store) replayBroken() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.broken
}

// system is a server under test.
type system struct {
	t      *testing.T
	hub    *notifier.Hub
	server *httpapi.Server
	store  *store // unless the test brings its own
	addr   string
	url    string
	stop   func() error // stops it and returns what Run returned
}

// setup runs a server on a loopback port until the test ends.
func setup(t *testing.T, adjust ...func(*httpapi.Config)) *system {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return setupOn(t, l, adjust...)
}

func setupOn(t *testing.T, l net.Listener, adjust ...func(*httpapi.Config)) *system {
	t.Helper()
	s := &system{t: t, store: newStore(), addr: l.Addr().String()}
	s.url = "http://" + s.addr
	config := httpapi.Config{
		Hub: s.store.hub, Store: s.store, Ready: func() error { return nil },
		Anonymous: true, Drain: 10 * time.Millisecond,
	}
	for _, change := range adjust {
		change(&config)
	}
	s.hub = config.Hub
	server, err := httpapi.New(config)
	if err != nil {
		t.Fatal(err)
	}
	s.server = server
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx, l) }() // ends with the test
	s.stop = sync.OnceValue(func() error {
		cancel()
		return <-ended
	})
	t.Cleanup(func() {
		if err := s.stop(); err != nil {
			t.Errorf("run: %v", err)
		}
	})
	return s
}

// in returns the system for use in a subtest.
func (s *system) in(t *testing.T) *system {
	sub := *s
	sub.t = t
	return &sub
}

// live waits until the server has handled all that the client sent before.
func (s *system) live(c *client) {
	s.t.Helper()
	c.send(0x80|opPing, "live?")
	for {
		got, err := c.read()
		if err != nil {
			s.t.Fatal(err)
		}
		if got == (frame{opPong, "live?"}) {
			return // what came before it, the announcement, has been handled
		}
	}
}

// caughtUp waits until the clients, all those of the user c, have their replay
// behind them and an event reaches them.
func (s *system) caughtUp(clients ...*client) {
	s.t.Helper()
	status, _, text := s.request("POST", "/push_events", `[{"accessid":"c","created_at":1,"payload":"first"}]`, "Content-Type: application/json")
	if status != http.StatusOK {
		s.t.Fatalf("push: %d %s", status, text)
	}
	for _, c := range clients {
		c.expect(opText, `[{"accessid":"c","created_at":1,"payload":"first"}]`)
	}
}

// event returns an event as push_events makes it.
func event(to string, seconds int64, payload string) notifier.Event {
	return notifier.Event{
		Type: "message", Recipient: &to, CreatedAt: time.Unix(seconds, 0).UTC(), Payload: []byte(payload),
	}
}

// push publishes events in one transaction.
func (s *system) push(events ...notifier.Event) {
	s.t.Helper()
	if err := s.store.Publish(s.t.Context(), notifier.Publication{Events: events}); err != nil {
		s.t.Fatal(err)
	}
}

// until waits for a condition, which it checks again and again.
func until(t *testing.T, what string, condition func() bool) {
	t.Helper()
	ticker := time.NewTicker(2 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(patience)
	for !condition() {
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatalf("not in time: %s", what)
		}
	}
}

// request sends a request with these headers, "Name: value" each.
func (s *system) request(method, path, body string, headers ...string) (status int, header http.Header, text string) {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		if name == "Host" {
			r.Host = value
		}
		r.Header.Add(name, value)
	}
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	answer, err := (&http.Client{Transport: transport, Timeout: patience}).Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer answer.Body.Close()
	read, err := io.ReadAll(answer.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer.StatusCode, answer.Header, string(read)
}

// The opcodes of RFC 6455.
const (
	opContinuation = 0x0
	opText         = 0x1
	opBinary       = 0x2
	opClose        = 0x8
	opPing         = 0x9
	opPong         = 0xa
)

// frame is what came from the server.
type frame struct {
	op      byte
	payload string
}

// client speaks WebSocket frame by frame, so that it can also break the rules.
type client struct {
	t *testing.T
	net.Conn
	in *bufio.Reader
}

// dial opens a WebSocket with these headers besides the usual.
func (s *system) dial(path string, headers ...string) *client {
	s.t.Helper()
	c, status := s.tryDial(path, headers...)
	if status != http.StatusSwitchingProtocols {
		s.t.Fatalf("dial %s: status %d", path, status)
	}
	return c
}

func (s *system) tryDial(path string, headers ...string) (*client, int) {
	s.t.Helper()
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.upgrade(conn, path, headers...)
}

func (s *system) upgrade(conn net.Conn, path string, headers ...string) (*client, int) {
	s.t.Helper()
	s.t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	if !slices.ContainsFunc(headers, func(h string) bool { return strings.HasPrefix(h, "Host: ") }) {
		headers = append(headers, "Host: "+s.addr)
	}
	if _, err := io.WriteString(conn, upgradeRequest(path, headers...)); err != nil {
		s.t.Fatal(err)
	}
	c := newClient(s.t, conn)
	answer, err := http.ReadResponse(c.in, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return c, answer.StatusCode
}

func newClient(t *testing.T, conn net.Conn) *client { return &client{t, conn, bufio.NewReader(conn)} }

func upgradeRequest(path string, headers ...string) string {
	return fmt.Sprintf("GET %s HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s\r\n\r\n", path, strings.Join(headers, "\r\n"))
}

// announce opens a subscription and waits until the server knows it.
func (s *system) announce(user string, timestamp int64) *client {
	s.t.Helper()
	c := s.dial("/subscribe_to_events")
	c.text(fmt.Sprintf(`{"access_id":%q,"timestamp":%d}`, user, timestamp))
	until(s.t, "the server knows the subscriber", func() bool { return slices.Contains(s.hub.Users(), user) })
	return c
}

// send writes one masked frame.
func (c *client) send(first byte, payload string) {
	c.t.Helper()
	if _, err := c.Write(masked(first, payload)); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) text(payload string) {
	c.t.Helper()
	c.send(0x80|opText, payload)
}

// masked returns a client's frame whose first byte is given.
func masked(first byte, payload string) []byte {
	out := []byte{first}
	switch n := len(payload); {
	case n < 126:
		out = append(out, 0x80|byte(n))
	case n <= 0xffff:
		out = binary.BigEndian.AppendUint16(append(out, 0x80|126), uint16(n))
	default:
		out = binary.BigEndian.AppendUint64(append(out, 0x80|127), uint64(n))
	}
	mask := [4]byte{1, 2, 3, 4}
	out = append(out, mask[:]...)
	for i := range len(payload) {
		out = append(out, payload[i]^mask[i%4])
	}
	return out
}

// read returns the next frame.
func (c *client) read() (frame, error) {
	var head [2]byte
	if _, err := io.ReadFull(c.in, head[:]); err != nil {
		return frame{}, err
	}
	size := uint64(head[1])
	if head[0]&0x80 == 0 || head[1]&0x80 != 0 {
		return frame{}, errors.New("a server's frame is whole and not masked")
	}
	switch size {
	case 126:
		var long [2]byte
		if _, err := io.ReadFull(c.in, long[:]); err != nil {
			return frame{}, err
		}
		size = uint64(binary.BigEndian.Uint16(long[:]))
	case 127:
		var long [8]byte
		if _, err := io.ReadFull(c.in, long[:]); err != nil {
			return frame{}, err
		}
		size = binary.BigEndian.Uint64(long[:])
	}
	payload := make([]byte, size)
	_, err := io.ReadFull(c.in, payload)
	return frame{head[0] & 0xf, string(payload)}, err
}

// expect reads the next frame, which must be this.
func (c *client) expect(op byte, payload string) {
	c.t.Helper()
	got, err := c.read()
	if err != nil {
		c.t.Fatalf("waiting for %q: %v", payload, err)
	}
	if want := (frame{op, payload}); got != want {
		c.t.Fatalf("got frame %d %q, want %d %q", got.op, short(got.payload), op, short(payload))
	}
}

func short(s string) string { return s[:min(len(s), 300)] }

// expectClose reads on to the close frame, returns what it says, answers it and
// waits for the end of the connection.
func (c *client) expectClose() (code int, reason string) {
	c.t.Helper()
	for {
		got, err := c.read()
		if err != nil {
			c.t.Fatalf("waiting for a close frame: %v", err)
		}
		if got.op != opClose {
			continue
		}
		_, _ = c.Write(masked(0x80|opClose, got.payload)) // it may already be closed
		if _, err := c.in.ReadByte(); err == nil {
			c.t.Fatal("something follows the close frame")
		}
		return closeParts(got.payload)
	}
}

func closeParts(payload string) (code int, reason string) {
	if len(payload) < 2 {
		return 1005, ""
	}
	return int(binary.BigEndian.Uint16([]byte(payload))), payload[2:]
}

func closePayload(code uint16, reason string) string {
	return string(binary.BigEndian.AppendUint16(nil, code)) + reason
}

// readStatus reads the head of an answer.
func readStatus(t *testing.T, conn net.Conn) int {
	t.Helper()
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode
}
