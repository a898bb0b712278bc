package httpapi

import (
	"context"
	"errors"
	"time"

	"example.com/notifier/notifier"
)

// receive does what a message asks for, and answers it before the next is read.
func (c *conn) receive(message []byte) {
	if c.isEnding() {
		return
	}
	c.slide()
	defer c.keepVigil()
	cmd, err := c.codec.decode(message)
	if c.codec.once() && c.subscriber != nil {
		c.renewBy(cmd)
		return
	}
	var got result
	if err == nil {
		got, err = c.carryOut(cmd)
	}
	c.server.refusals.noteError(err)
	if frame := c.codec.reply(cmd, got, err); frame != nil && !errors.Is(err, errCrowded) {
		c.reply(frame)
	}
	switch {
	case errors.Is(err, errCrowded): // in no protocol's words
		c.End(notifier.EndedByCrowd)
	case errors.Is(err, notifier.ErrGone): // dropped in this moment: End was called
	case errors.Is(err, errUnavailable):
		c.End(notifier.EndedByOutage)
	case err != nil && c.codec.ends(err):
		c.End(endingOf(err))
	}
	if got.begin != nil && !c.isEnding() { // what is held back goes with it: the client does not know from where
		got.begin()
	}
}

func endingOf(err error) notifier.Ending {
	switch {
	case errors.Is(err, errThrottled):
		return notifier.EndedByThrottle
	case errors.Is(err, errNotUnderstood), errors.Is(err, errBadCursor):
		return notifier.EndedByProtocol
	case errors.Is(err, errTooMuch):
		return notifier.EndedByLimit
	}
	return notifier.EndedByAccess
}

// renewBy lets a newer token of the same user extend what rests on its older
// one.
func (c *conn) renewBy(cmd command) {
	if cmd.token == "" {
		return
	}
	if who, err := c.identify(cmd); err == nil {
		c.renew(who)
	}
}

// carryOut does what a command asks for.
func (c *conn) carryOut(cmd command) (result, error) {
	switch {
	case cmd.action == logIn:
		return c.logIn(cmd)
	case cmd.action == logOut:
		c.logOut()
		return result{}, nil
	case cmd.action == resume:
		return c.resumeAll(cmd)
	case cmd.action == nothing && !cmd.shown:
		return result{}, cmd.fault
	}
	who, err := c.identify(cmd)
	if err != nil {
		return result{}, err
	}
	c.renew(who)
	if cmd.action != subscribe || len(cmd.wants) == 0 {
		return result{}, c.withdraw(cmd, who)
	}
	return c.subscribe(cmd, who)
}

// identify returns who sends a command: whose token it shows, or else whose the
// handshake did, which may have expired since.
func (c *conn) identify(cmd command) (caller, error) {
	ctx, cancel := context.WithTimeout(c.server.life, admitTimeout)
	defer cancel()
	switch {
	case cmd.token != "":
		who, err := c.server.verify(ctx, cmd.token)
		if err == nil && !c.caller.open && who.User == c.caller.User && who.Expires.After(c.caller.Expires) {
			c.caller = who // in place of the older one
		}
		return who, err
	case c.caller.Expired(time.Now()) && !c.admitted: // whose lease ends it all
		return caller{}, errBadToken
	case c.caller.User != "":
		return c.caller, nil
	}
	return c.server.stranger()
}

// withdraw ends the subscriptions that there are of those names.
func (c *conn) withdraw(cmd command, who caller) error {
	if _, err := c.server.admit(c.server.life, who, nil); err != nil {
		return err
	}
	if cmd.fault != nil || cmd.action != unsubscribe {
		return cmd.fault
	}
	for _, w := range cmd.wants {
		c.mu.Lock()
		sub := c.dropLocked(w.name)
		c.mu.Unlock()
		if sub != nil {
			c.server.config.Hub.Unsubscribe(sub.Subscription)
		}
	}
	return nil
}

// subscribe joins the hub if the policy allows it. If access changes between
// the policy's answer and the joining, it is asked again.
func (c *conn) subscribe(cmd command, who caller) (got result, err error) {
	from, err := c.server.parseCursor(cmd.cursor)
	if err != nil {
		return got, err
	}
	for range maxPermitTries {
		got, err = c.trySubscribe(cmd, who, from)
		switch {
		case errors.Is(err, notifier.ErrStalePermit):
		case errors.Is(err, notifier.ErrBehind):
			time.Sleep(fallPause)
		default:
			return got, err
		}
	}
	return result{}, errUnavailable
}

const (
	// maxPermitTries bounds how often the policy is asked about one subscription.
	maxPermitTries = 100
	// fallPause is about what the hub takes to say that a client has fallen behind
	// in this moment.
	fallPause = 5 * time.Millisecond
)

func (c *conn) trySubscribe(cmd command, who caller, from *resumption) (got result, err error) {
	user, permit, err := c.allow(cmd, who)
	if err != nil {
		return got, err
	}
	if !c.hasRoom(cmd.wants, user) {
		return got, errTooMuch
	}
	if err := c.countFor(who, user); err != nil {
		return got, err
	}
	c.join(cmd.user)
	if err := c.reach(from); err != nil {
		return got, err
	}
	if from != nil {
		c.encodeCursors()
	}
	release, err := c.holdFor(cmd.wants)
	got.begin = release
	if err != nil {
		return got, err
	}
	filters := make([]notifier.Filter, len(cmd.wants))
	for i, w := range cmd.wants {
		filters[i] = w.filter(user)
	}
	viewer := notifier.Viewer{User: user, Admin: who.unrestricted()}
	behind := from != nil || cmd.replay
	subs, here, err := c.server.config.Hub.SubscribeAll(c.subscriber, viewer, permit, behind, filters...)
	if err != nil { // another try waits for what is held back
		release()
		return result{}, err
	}
	if from != nil {
		c.wantCursors()
	}
	if behind {
		got.begin = func() { release(); c.pursue(nil) }
	}
	var newest []newestOwed
	for i, w := range cmd.wants {
		sub := &subscription{subs[i], who.standing(), w.weigh(user)}
		if lost, ok := c.record(w.name, sub); !ok {
			c.unsubscribeRest(subs[i+1:])
			return got, lost
		}
		if w.latest && (from == nil || from.from == nil) {
			newest = append(newest, newestOwed{sub, filters[i], here.Point})
		}
	}
	if err := c.sendNewest(newest, viewer); err != nil {
		return got, err
	}
	var first owed
	switch {
	case from != nil && (from.from != nil || !cmd.replay):
		if got.verdict, first, err = c.lookForMissed(from, subs, here); err != nil {
			return got, err
		}
	case cmd.replay:
		first = c.replaySince(subs[0], filters[:1], here)
		if from != nil {
			got.verdict = verdict{word: verdictResumed}
		}
	}
	if behind {
		got.begin = func() { release(); c.pursue(first) }
	}
	return got, nil
}

// allow returns whom a command is carried out for, and what that rests on.
func (c *conn) allow(cmd command, who caller) (user string, permit notifier.Permit, err error) {
	admission, err := c.server.admit(c.server.life, who, cmd.about)
	switch {
	case err != nil:
		return "", permit, err
	case cmd.fault != nil:
		return "", permit, cmd.fault
	case cmd.about != nil && admission.Dataset != nil && !admission.MayRead:
		return "", permit, errNoAccess
	}
	permit = notifier.Permit{At: admission.At, Account: who.account}
	if cmd.about != nil && admission.Dataset != nil {
		permit.Scope = &notifier.Question{User: who.User, Type: cmd.about.eventType, Dataset: *admission.Dataset, HasDataset: true}
	}
	user, err = who.actingFor(cmd.user)
	return user, permit, err
}

// unsubscribeRest is for subscriptions that were not recorded.
func (c *conn) unsubscribeRest(subs []*notifier.Subscription) {
	for _, sub := range subs {
		c.server.config.Hub.Unsubscribe(sub)
	}
}

// hold keeps events back until the answer is queued: nothing may come before
// it.
func (c *conn) hold() (release func()) {
	c.socket.outbox.Hold()
	return func() {
		c.socket.outbox.Release()
		c.socket.flush()
	}
}

// join makes the connection known to the hub, under the name by which it can be
// dropped and is listed; "": those on whose behalf it subscribes.
func (c *conn) join(user string) {
	if c.subscriber != nil {
		return
	}
	s := notifier.NewSubscriber(user, c.encoder, c)
	c.setSubscriber(s)
	c.server.config.Hub.Join(s)
}
