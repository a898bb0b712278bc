package auth

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"runtime"
)

// LoginConfig is what [Logins] is made from. Zero means the default.
type LoginConfig struct {
	// Hashing bounds the passwords hashed at once, each of which takes 19 MiB;
	// default: as many as there are processors, at least 2.
	Hashing int
	// Throttle slows guessing down.
	Throttle ThrottleConfig
}

// Logins checks passwords, as slowly as it must for who guesses and as fast as
// it can for everybody else. It is for use by many goroutines.
type Logins struct {
	throttle *Throttle
	gate     *gate
}

// NewLogins returns Logins that remember nothing yet. They are for one
// instance: with several, who guesses has that many times more tries.
func NewLogins(c LoginConfig) *Logins {
	places := orDefault(c.Hashing, max(2, runtime.GOMAXPROCS(0)))
	return &Logins{throttle: NewThrottle(c.Throttle), gate: newGate(max(1, places))}
}

// Login is somebody's claim to be a user.
type Login struct {
	User     string
	Address  netip.Addr // the client's, not a proxy's
	Password string
}

// Check returns nil if the password is right; else [ErrWrongPassword], a
// [ThrottledError], [ErrBusy], the context's cause, or what went wrong with the
// hash. stored returns the user's hash, and is not asked if the login is not
// tried: empty if there is no such user, or the user is disabled or has no
// password. These cost the same time as a wrong password.
func (l *Logins) Check(ctx context.Context, login Login, stored func(context.Context) (string, error)) error {
	try, err := l.throttle.Begin(login.User, login.Address)
	if err != nil {
		return err
	}
	end := try.Abandoned
	defer func() { end() }() // also if stored panics
	right, err := l.compare(ctx, login, stored, try.Known())
	switch {
	case err != nil:
		return err
	case !right:
		end = try.Failed
		return ErrWrongPassword
	}
	end = try.Succeeded
	return nil
}

func (l *Logins) compare(ctx context.Context, login Login, stored func(context.Context) (string, error), known bool) (bool, error) {
	// No such password or user can have been stored, which tells nobody anything.
	if login.Password == "" || len(login.Password) > MaxPassword || checkUser(login.User) != nil {
		return false, nil
	}
	hash, err := stored(ctx)
	if err != nil {
		return false, fmt.Errorf("look up password: %w", err)
	}
	if err := l.gate.enter(ctx, login.User, known); err != nil {
		return false, err
	}
	defer l.gate.leave(known)
	right, err := VerifyPassword(hash, login.Password)
	if err != nil {
		return false, fmt.Errorf("compare password: %w", err)
	}
	return right, nil
}

// String shows nothing of the password.
func (l Login) String() string { return "(login)" }

// GoString shows nothing of the password either.
func (l Login) GoString() string { return "(login)" }

// LogValue shows nothing of the password in a log.
func (l Login) LogValue() slog.Value { return slog.StringValue(l.String()) }
