package httpapi

import (
	"context"
	"errors"
	"time"

	"example.com/notifier/notifier"
)

// subscription is one of a connection's.
type subscription struct {
	*notifier.Subscription
	user   string // on whose token it rests
	weight int    // what it takes of Config.MaxSubscriptions
}

// receive does what a message asks for, and answers it before the next is read.
func (c *conn) receive(message []byte) {
	if c.isEnding() {
		return
	}
	cmd, err := c.codec.decode(message)
	defer c.keepVigil()
	if c.codec.once() && c.subscriber != nil {
		c.renewBy(cmd)
		return
	}
	var got result
	if err == nil {
		got, err = c.carryOut(cmd)
	}
	if frame := c.codec.reply(cmd, got, err); frame != nil {
		c.reply(frame)
	}
	switch {
	case errors.Is(err, notifier.ErrGone): // dropped in this moment: End was called
	case errors.Is(err, errUnavailable):
		c.End(notifier.EndedByReplay)
	case err != nil && c.codec.ends(err):
		c.End(endingOf(err))
	}
	if got.begin != nil {
		got.begin()
	}
}

func endingOf(err error) notifier.Ending {
	switch {
	case errors.Is(err, errThrottled):
		return notifier.EndedByThrottle
	case errors.Is(err, errNotUnderstood):
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
	begin, err := c.subscribe(cmd, who)
	return result{begin: begin}, err
}

// identify returns who sends a command: whose token it shows, or else whose the
// handshake did, which may have expired since.
func (c *conn) identify(cmd command) (caller, error) {
	ctx, cancel := context.WithTimeout(context.Background(), admitTimeout)
	defer cancel()
	switch {
	case cmd.token != "":
		who, err := c.server.verify(ctx, cmd.token)
		if err == nil && !c.caller.open && who.User == c.caller.User && who.Expires.After(c.caller.Expires) {
			c.caller = who // in place of the older one
		}
		return who, err
	case c.caller.Expired(time.Now()):
		return caller{}, errBadToken
	case c.caller.User != "":
		return c.caller, nil
	}
	return c.server.stranger()
}

// withdraw ends the subscriptions that there are of those names.
func (c *conn) withdraw(cmd command, who caller) error {
	if _, err := c.server.admit(context.Background(), who, nil); err != nil {
		return err
	}
	if cmd.fault != nil || cmd.action != unsubscribe {
		return cmd.fault
	}
	for _, w := range cmd.wants {
		c.mu.Lock()
		sub := c.takeLocked(w.name)
		c.mu.Unlock()
		if sub != nil {
			c.server.config.Hub.Unsubscribe(sub.Subscription)
		}
	}
	return nil
}

// subscribe joins the hub if the policy allows it. If access changes between
// the policy's answer and the joining, it is asked again.
func (c *conn) subscribe(cmd command, who caller) (begin func(), err error) {
	for range maxPermitTries {
		begin, err = c.trySubscribe(cmd, who)
		if !errors.Is(err, notifier.ErrStalePermit) {
			return begin, err
		}
	}
	return nil, errUnavailable
}

// maxPermitTries bounds how often the policy is asked about one subscription.
const maxPermitTries = 100

func (c *conn) trySubscribe(cmd command, who caller) (begin func(), err error) {
	admission, err := c.server.admit(context.Background(), who, cmd.about)
	switch {
	case err != nil:
		return nil, err
	case cmd.fault != nil:
		return nil, cmd.fault
	case cmd.about != nil && admission.Dataset != nil && !admission.MayRead:
		return nil, errNoAccess
	}
	user, err := who.actingFor(cmd.user)
	if err != nil {
		return nil, err
	}
	permit := notifier.Permit{At: admission.At}
	if cmd.about != nil && admission.Dataset != nil {
		permit.Scope = &notifier.Question{User: who.User, Type: cmd.about.eventType, Dataset: *admission.Dataset, HasDataset: true}
	}
	if !c.hasRoom(cmd.wants, user) {
		return nil, errTooMuch
	}
	c.join(cmd.user)
	begin = c.hold()
	viewer := notifier.Viewer{User: user, Admin: who.unrestricted()}
	var newest []newestOwed
	for _, w := range cmd.wants {
		filter := w.filter(user)
		joined, point, err := c.server.config.Hub.Subscribe(c.subscriber, viewer, filter, permit)
		if err != nil {
			return begin, err
		}
		sub := &subscription{joined, who.User, w.weigh(user)}
		if !c.record(w.name, sub) {
			return begin, errNoAccess
		}
		if cmd.replay {
			begin = func() { c.startReplay(sub, filter, point) } // it releases when it is done
		}
		if w.latest {
			newest = append(newest, newestOwed{sub, filter, point})
		}
	}
	return begin, c.sendNewest(newest, viewer)
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
	s := notifier.NewSubscriber(user, c.codec, c)
	c.mu.Lock()
	c.subscriber = s
	c.mu.Unlock()
	c.server.config.Hub.Join(s)
}

// record keeps a subscription by its name, in place of an older one. It returns
// false if access to it was revoked in this moment.
func (c *conn) record(name string, sub *subscription) bool {
	c.mu.Lock()
	if c.revoked == sub.Subscription {
		c.revoked = nil
		c.mu.Unlock()
		return false
	}
	older := c.takeLocked(name)
	if c.subscriptions == nil {
		c.subscriptions = make(map[string]*subscription, 1)
	}
	c.subscriptions[name] = sub
	c.weight += sub.weight
	c.mu.Unlock()
	if older != nil {
		c.server.config.Hub.Unsubscribe(older.Subscription)
	}
	return true
}

// takeLocked takes a subscription off the record and returns it; nil: there is
// none of that name.
func (c *conn) takeLocked(name string) *subscription {
	sub := c.subscriptions[name]
	if sub != nil {
		delete(c.subscriptions, name)
		c.weight -= sub.weight
	}
	return sub
}

// hasRoom reports whether the connection may have all of these subscriptions
// besides its others, each in place of one of the same name. Others only get
// fewer until these are recorded, as the caller is the connection's reader.
func (c *conn) hasRoom(wants []want, user string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	held := c.weight
	for _, w := range wants {
		held += w.weigh(user)
		if older := c.subscriptions[w.name]; older != nil {
			held -= older.weight
		}
	}
	return held <= c.server.config.MaxSubscriptions
}

// nameUnit is how many bytes of a name count as one subscription: about as many
// as one with an id of usual size has.
const nameUnit = 64

// weigh says how many subscriptions one counts for: a filter that lists values
// has an entry for each in the hub's index, and a name may be long.
func (w want) weigh(user string) int {
	f := w.filter(user)
	return max(1, len(f.Types), len(f.Actions), len(f.Keys), (len(w.name)+nameUnit-1)/nameUnit)
}

// Revoke tells the client that a subscription has ended.
func (c *conn) Revoke(ended *notifier.Subscription) {
	if c.forget(ended) {
		c.tellLoss(errRevoked)
	}
}

// forget drops a subscription that the hub has ended. If it is not recorded yet,
// which happens at once, record will see that.
func (c *conn) forget(ended *notifier.Subscription) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, sub := range c.subscriptions {
		if sub.Subscription == ended {
			c.takeLocked(name)
			return true
		}
	}
	c.revoked = ended
	return false
}

// tellLoss tells the client why subscriptions have ended; where the protocol has
// no words for that, an expired token may end the connection and a revocation
// does not.
func (c *conn) tellLoss(why error) {
	if frame := c.codec.lost(why); frame != nil {
		c.reply(frame)
	} else if errors.Is(why, errExpired) && c.codec.ends(why) {
		c.End(notifier.EndedByExpiry)
	}
}
