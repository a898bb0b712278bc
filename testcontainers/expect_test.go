package testcontainers_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/notifier/testcontainers"
)

// complaints is a test that notes why it would have failed.
type complaints struct {
	testing.TB
	mu  sync.Mutex
	all []string
}

// Errorf notes it.
func (c *complaints) Errorf(format string, arguments ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = append(c.all, fmt.Sprintf(format, arguments...))
}

// told fails the test unless there was one complaint, which says all this.
func (c *complaints) told(t *testing.T, texts ...string) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.all) != 1 {
		t.Fatalf("%d complaints: %q", len(c.all), c.all)
	}
	for _, text := range texts {
		if !strings.Contains(c.all[0], text) {
			t.Errorf("the message does not say %q:\n%s", text, c.all[0])
		}
	}
	c.all = nil
}

// hasty is a suite whose tests soon give up.
var hasty = testcontainers.New(testcontainers.Patience(2 * time.Second))

func TestExpect_SaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	n := hasty.Start(t)
	n.User("ann", "bob")
	c := &complaints{TB: t}
	ann := n.DRP(c, "ann", "*.*.*")
	publish := func(key, payload string) {
		n.Exec(`SELECT notifier.publish('order', 'save', $1, $2::json)`, key, payload)
	}
	want := func(key, payload string) testcontainers.Want {
		return testcontainers.Want{Type: "order", Action: "save", Key: key, Payload: testcontainers.Containing(payload)}
	}

	ann.Expect(want("1", `{"n": 1}`))
	c.told(t, "ann (DRP *.*.*)", "after 2s", `missing: order save 1 {"n": 1}`, "nothing came")

	publish("1", `{"n": 1}`)
	ann.ExpectNothing()
	c.told(t, `event 1 is not expected: order save 1 {"n": 1}`)

	publish("1", `{"n": 1, "more": "x"}`)
	ann.Expect(want("1", `{"n": 2}`))
	c.told(t, "which was due", "payload: differs (-want +got)", `number("2")`, `number("1")`, `missing: order save 1 {"n": 2}`)

	publish("1", `{"n": 1}`)
	publish("2", `{"n": 1}`)
	publish("1", `{"n": 2}`)
	ann.Expect(want("2", `{"n": 1}`), want("1", `{"n": 2}`), want("1", `{"n": 1}`))
	c.told(t, `event 1 came before order save 1 {"n": 2}`, "what came:")

	publish("1", `{"n": 1}`)
	publish("2", `{"n": 1}`)
	ann.Expect(want("2", `{"n": 1}`), want("1", `{"n": 1}`)) // of two objects: any order
	ann.NotDelivered(want("3", `{}`), want("1", `{"n": 1}`))
	c.all = c.all[:1] // one for each time it came
	c.told(t, `got what it must not: order save 1 {"n": 1}`)

	ann.Stall()
	ann.ExpectNothing()
	c.told(t, "is the connection stalled")
	ann.Unstall()
	ann.ExpectNotice(testcontainers.Containing(`{"revoked": true}`))
	c.told(t, `was not told {"revoked": true}`)
	ann.ExpectEnd()
	c.told(t, "has not ended")
	ann.Disconnect()
	ann.ExpectNothing()
	c.told(t, "the client is not connected")
	if len(c.all) > 0 {
		t.Errorf("complaints: %q", c.all)
	}
}

func TestMatchers(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		want  testcontainers.Matcher
		got   string
		equal bool
	}{
		{testcontainers.Equal(`{"a": 1, "b": [1, 2]}`), `{"b":[1.0,2],"a":1e0}`, true},
		{testcontainers.Equal(`{"a": 1}`), `{"a":1,"b":2}`, false},
		{testcontainers.Equal(`9007199254740993`), `9007199254740992`, false},
		{testcontainers.Equal(`1e1000000000`), `1e1000000001`, false},
		{testcontainers.Equal(map[string]any{"a": []int{1}}), `{"a":[1]}`, true},
		{testcontainers.Equal(`null`), `null`, true},
		{testcontainers.Equal(`null`), ``, false},
		{testcontainers.Equal(`{`), `{`, false},
		{testcontainers.Equal(`1 2`), `1`, false},
		{testcontainers.Containing(`{"a": {"b": 1}}`), `{"a":{"b":1,"c":2},"d":3}`, true},
		{testcontainers.Containing(`{"a": {"b": 1}}`), `{"a":{"c":2}}`, false},
		{testcontainers.Containing(`{"a": null}`), `{}`, false},
		{testcontainers.Containing(`{"a": {}}`), `{"a":[]}`, false},
		{testcontainers.Containing(`[{"a": 1}]`), `[{"a":1,"b":2}]`, true},
		{testcontainers.Containing(`[{"a": 1}]`), `[{"a":1},{"a":1}]`, false},
		{testcontainers.Containing(`[1]`), `{}`, false},
		{testcontainers.Containing(`{}`), `{"any":"object"}`, true},
	} {
		difference := test.want.Differs([]byte(test.got))
		if (difference == "") != test.equal {
			t.Errorf("want %v, got %s: %q", test.want, test.got, difference)
		}
	}
}
