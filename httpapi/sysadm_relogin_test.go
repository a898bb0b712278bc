package httpapi_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"example.com/notifier/notifier"
)

// What was subscribed to by a token of others must not live on by the requests of
// an account of the same user: neither the token's end nor the account's would
// end it.
func TestSysadm_AnotherCredentialOfTheSameUserBeginsAnew(t *testing.T) {
	onSysadmsTime(t, func(t *testing.T, s *system, p *pipes, d *directory) {
		d.setAccount(sysadmUser, account(t))
		c := &sysadmClient{p.dialWith(s, "/", "Authorization: Bearer "+token(t, sysadmUser, time.Minute, nil))}
		c.subscribe("dispatcher")
		c.logsIn(sysadmUser, rightPassword)
		changed := account(t)
		changed.Generation = 2
		d.setAccount(sysadmUser, changed)
		user := sysadmUser
		d.control(&notifier.Event{Control: notifier.ControlAccessChanged, Recipient: &user})
		<-time.After(14 * time.Minute)
		c.quiet() // a request, from which a session would go on
		<-time.After(14 * time.Minute)
		d.publish(t, ofType("dispatcher", "1"))
		synctest.Wait() // an answer would overtake an event
		c.quiet()
		_ = c.Close()
	})
}

// Who has logged in after the account changed, and before the hub knows of that,
// begins anew: what rests on the old password would end later, without a word.
func TestSysadm_LogInAfterAChangeOfTheAccount(t *testing.T) {
	t.Parallel()
	d := newDirectory(sysadmUser)
	d.setAccount(sysadmUser, account(t))
	c := sysadmSystem(t, d).sysadm("")
	c.logsIn(sysadmUser, rightPassword)
	c.subscribe("dispatcher")
	changed := account(t)
	changed.Generation = 2
	d.setAccount(sysadmUser, changed)
	c.logsIn(sysadmUser, rightPassword)
	d.publish(t, ofType("dispatcher", "1"))
	c.quiet()
}

// bulky are events that a client which does not read can't have taken all.
func bulky(eventType string) (events []notifier.Event, messages []string) {
	for i := range 20 {
		payload := fmt.Sprintf(`"%02d%s"`, i, strings.Repeat("x", 300_000))
		events = append(events, ofType(eventType, payload))
		messages = append(messages, sysadmMessage(eventType, payload))
	}
	return events, messages
}

// What waits for a client when it logs out was for somebody else than whoever
// logs in next.
func TestSysadm_NoEventsAfterLoggingOut(t *testing.T) {
	t.Parallel()
	d := newDirectory(sysadmUser)
	c := sysadmSystem(t, d, smallBuffers).sysadm(sysadmUser)
	c.subscribe("dispatcher")
	events, _ := bulky("dispatcher")
	d.publish(t, events...)
	c.text(`{"namespace":"rpc","name":"auth_clear"}`)
	c.text(`{"namespace":"rpc","name":"query","id":"a"}`)
	for range len(events) + 1 {
		got, err := c.read()
		if err != nil {
			t.Fatal(err)
		}
		if got.payload == fmt.Sprintf(sysadmUnauthorized, "a") {
			break
		}
	}
	c.quiet()
	c.quiet()
}
