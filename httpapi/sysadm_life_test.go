package httpapi_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"example.com/notifier/httpapi"
)

// onSysadmsTime is a server for sysadm's clients on fake time.
func onSysadmsTime(t *testing.T, test func(*testing.T, *system, *pipes, *directory)) {
	t.Helper()
	onTokensTime(t, []string{sysadmUser}, test, func(c *httpapi.Config) { c.PlainPasswords = true })
}

// Who does not log in within 30 s is sent away, whatever else is said meanwhile;
// and who has logged out, again.
func TestSysadm_LogInInTime(t *testing.T) {
	onSysadmsTime(t, func(t *testing.T, s *system, p *pipes, _ *directory) {
		c := &sysadmClient{p.dialWith(s, "/")}
		began := time.Now()
		<-time.After(20 * time.Second)
		c.quiet()
		c.ask(`{"namespace":"rpc","name":"query","id":"a"}`, fmt.Sprintf(sysadmUnauthorized, "a"))
		code, _ := c.expectClose()
		if after := time.Since(began); code != 1000 || after != 30*time.Second {
			t.Errorf("closed with %d after %v", code, after)
		}
		c = &sysadmClient{p.dialWith(s, "/")}
		began = time.Now()
		<-time.After(29 * time.Second)
		c.logIn(`{"namespace":"rpc","name":"auth_token","id":"1","args":{"token":"`+token(t, sysadmUser, time.Hour, nil)+`"}}`, "1", token(t, sysadmUser, time.Hour, nil))
		<-time.After(29 * time.Minute)
		c.text(`{"namespace":"rpc","name":"auth_clear"}`)
		c.quiet()
		code, _ = c.expectClose()
		if after := time.Since(began); code != 1000 || after != 29*time.Minute+59*time.Second {
			t.Errorf("closed with %d after %v", code, after)
		}
	})
}

// A client that is logged in may be silent for 30 minutes; events it gets are
// not its word.
func TestSysadm_Silence(t *testing.T) {
	onSysadmsTime(t, func(t *testing.T, s *system, p *pipes, d *directory) {
		c := &sysadmClient{p.dialWith(s, "/", "Authorization: Bearer "+token(t, sysadmUser, 1000*time.Hour, nil))}
		c.subscribe("dispatcher")
		for range 5 {
			<-time.After(29 * time.Minute)
			c.quiet()
		}
		began := time.Now()
		<-time.After(29 * time.Minute)
		d.publish(t, ofType("dispatcher", "1"))
		c.expect(opText, sysadmMessage("dispatcher", "1"))
		code, _ := c.expectClose()
		if after := time.Since(began); code != 1000 || after != 30*time.Minute {
			t.Errorf("closed with %d after %v", code, after)
		}
	})
}

// With a token's end, events cease without a word; the next request is told, and
// the connection stays.
func TestSysadm_Expiry(t *testing.T) {
	onSysadmsTime(t, func(t *testing.T, s *system, p *pipes, d *directory) {
		c := &sysadmClient{p.dialWith(s, "/", "Authorization: Bearer "+token(t, sysadmUser, 20*time.Minute, nil))}
		c.subscribe("dispatcher")
		<-time.After(20*time.Minute - time.Second)
		d.publish(t, ofType("dispatcher", "1"))
		c.expect(opText, sysadmMessage("dispatcher", "1"))
		<-time.After(time.Second)
		synctest.Wait()
		d.publish(t, ofType("dispatcher", "2"))
		synctest.Wait() // an answer would overtake an event
		c.quiet()
		c.ask(`{"namespace":"events","name":"subscribe","id":"a","args":"dispatcher"}`, fmt.Sprintf(sysadmUnauthorized, "a"))
		shown := token(t, sysadmUser, time.Hour, nil)
		c.ask(`{"namespace":"rpc","name":"auth_token","id":"1","args":{"token":"`+shown+`"}}`, `{"args":["`+shown+`",3600],"id":"1","name":"response","namespace":"rpc"}`)
		c.subscribe("dispatcher")
		<-time.After(15 * time.Minute) // the seconds that are left are told truly
		c.ask(`{"namespace":"rpc","name":"auth_token","id":"2","args":{"token":"`+shown+`"}}`, `{"args":["`+shown+`",2700],"id":"2","name":"response","namespace":"rpc"}`)
		d.publish(t, ofType("dispatcher", "3"))
		c.expect(opText, sysadmMessage("dispatcher", "3"))
		_ = c.Close()
	})
}

// A session lasts 900 s from each request on; then events cease, and the next
// request is told.
func TestSysadm_SessionSlides(t *testing.T) {
	onSysadmsTime(t, func(t *testing.T, s *system, p *pipes, d *directory) {
		d.setAccount(sysadmUser, account(t))
		c := &sysadmClient{p.dialWith(s, "/")}
		c.logsIn(sysadmUser, rightPassword)
		c.subscribe("dispatcher")
		for range 4 {
			<-time.After(14 * time.Minute)
			c.quiet() // identify needs no login, and is a request
			d.publish(t, ofType("dispatcher", "1"))
			c.expect(opText, sysadmMessage("dispatcher", "1"))
		}
		<-time.After(15*time.Minute - time.Second)
		d.publish(t, ofType("dispatcher", "2"))
		c.expect(opText, sysadmMessage("dispatcher", "2"))
		<-time.After(time.Second)
		synctest.Wait()
		d.publish(t, ofType("dispatcher", "3"))
		synctest.Wait() // an answer would overtake an event
		c.quiet()
		c.ask(`{"namespace":"rpc","name":"query","id":"a"}`, fmt.Sprintf(sysadmUnauthorized, "a"))
		c.logsIn(sysadmUser, rightPassword)
		_ = c.Close()
	})
}

// Beyond its connection, a token lasts 900 s; whoever shows it before gets the
// next one for it.
func TestSysadm_TokensAreRenewedByShowingThem(t *testing.T) {
	onSysadmsTime(t, func(t *testing.T, s *system, p *pipes, d *directory) {
		d.setAccount(sysadmUser, account(t))
		first := (&sysadmClient{p.dialWith(s, "/")}).logsIn(sysadmUser, rightPassword)
		shown := first
		for range 4 {
			<-time.After(14 * time.Minute)
			c := &sysadmClient{p.dialWith(s, "/")}
			shown = c.session(`{"namespace":"rpc","name":"auth_token","id":"auth","args":{"token":"` + shown + `"}}`)
			c.subscribe("dispatcher")
			_ = c.Close()
		}
		c := &sysadmClient{p.dialWith(s, "/")}
		c.ask(`{"namespace":"rpc","name":"auth_token","id":"a","args":{"token":"`+first+`"}}`, fmt.Sprintf(sysadmUnauthorized, "a"))
		_ = c.Close()
	})
}
