package httpapi

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"time"

	"example.com/notifier/httpapi/auth"
	"example.com/notifier/httpapi/proxies"
	"example.com/notifier/notifier"
)

// What our own tokens are for. One protocol's are good in all others too, so
// there is one purpose for all who have logged in.
const (
	purposeAccount = "account"
	// purposeOpen is for who has shown nothing while nothing was needed.
	purposeOpen = "anonymous"
)

// What logging in can fail with, besides an [auth.ThrottledError] and
// errUnavailable.
var (
	errBadLogin = auth.ErrWrongPassword
	// errPlainPassword refuses a password that others could have read on its
	// way.
	errPlainPassword = errors.New("a password is taken only over TLS or from this host")
	errNoAccount     = errors.New("only who has logged in gets a token")
)

// peer is where a client is, as far as that matters to a password.
type peer struct {
	address netip.Addr // zero: not known
	private bool       // nobody can read on the way what the client sends
}

// peerOf returns where a request comes from. What comes from this host is
// private, unless a trusted proxy here says where it really comes from.
func peerOf(r *http.Request) peer {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	address, _ := netip.ParseAddr(host) // zero if it is no IP address
	address = address.Unmap()
	encrypted, told := proxies.Encrypted(r)
	return peer{address: address, private: encrypted || address.IsLoopback() && !told}
}

// logIn returns who a user is whose password is right: with the roles that the
// account has, for as long as it stays as it is. It fails with errBadLogin, an
// [auth.ThrottledError], errPlainPassword or errUnavailable.
func (s *Server) logIn(ctx context.Context, user, password string, from peer) (caller, error) {
	if !from.private && !s.config.PlainPasswords {
		s.config.Logger.Warn("login refused", "reason", "plain HTTP", "remote", from.address)
		return caller{}, errPlainPassword
	}
	ctx, cancel := context.WithTimeout(ctx, admitTimeout)
	defer cancel()
	var account notifier.Credentials
	login := auth.Login{User: user, Password: password, Address: from.address}
	err := s.logins.Check(ctx, login, func(ctx context.Context) (string, error) {
		found, ok, err := s.config.Store.UserCredentials(ctx, user)
		if err != nil || !ok || found.Disabled {
			return "", err
		}
		account = found
		return found.PasswordHash, nil
	})
	if err == nil {
		return callerOf(user, account), nil
	}
	return caller{}, s.refuseLogin(err, from)
}

// refuseLogin notes that nobody was let in. The user's name is not noted: some
// type their password there.
func (s *Server) refuseLogin(err error, from peer) error {
	_, throttled := errors.AsType[*auth.ThrottledError](err)
	switch {
	case throttled:
		s.config.Logger.Debug("login refused", "reason", "throttled", "remote", from.address)
		return err
	case errors.Is(err, auth.ErrWrongPassword):
		s.config.Logger.Info("login refused", "reason", "wrong user or password", "remote", from.address)
		return errBadLogin
	case errors.Is(err, auth.ErrBusy):
		s.config.Logger.Warn("login refused", "reason", err, "remote", from.address)
	case !errors.Is(err, context.Canceled): // the client has gone
		s.config.Logger.Error("login failed", "error", err)
	}
	return errUnavailable
}

// callerOf returns who has logged in to an account.
func callerOf(user string, account notifier.Credentials) caller {
	roles := make([]auth.Role, len(account.Roles))
	for i, name := range account.Roles {
		roles[i] = auth.Role(name)
	}
	return caller{
		Identity: auth.Identity{User: user, Roles: auth.RolesOf(roles...)},
		account:  &notifier.Account{User: user, Generation: account.Generation},
	}
}

// openSession returns a token by which every instance knows the caller, and its
// end. It counts no longer than the account stays as it is. Only who has logged
// in, by a password or such a token, may have one: others' tokens carry their
// own rights and their own end. errNoAccount tells everybody else.
func (s *Server) openSession(who caller, ttl time.Duration) (token string, expires time.Time, err error) {
	switch {
	case who.open:
		return s.sessions.Issue(who.User, purposeOpen, 0, ttl)
	case who.account == nil:
		return "", time.Time{}, errNoAccount
	}
	return s.sessions.Issue(who.User, purposeAccount, who.account.Generation, ttl)
}

// verifySession returns whose token of our own it is.
func (s *Server) verifySession(ctx context.Context, token string) (caller, error) {
	session, err := s.sessions.Verify(token, purposeAccount, purposeOpen)
	if err != nil {
		s.config.Logger.Debug("token refused", "reason", err)
		return caller{}, errBadToken
	}
	if session.Purpose == purposeOpen {
		if !s.config.Anonymous {
			return caller{}, errBadToken
		}
		return s.whoever(session.User)
	}
	account, found, err := s.config.Store.UserCredentials(ctx, session.User)
	switch {
	case err != nil:
		s.config.Logger.Error("account could not be read", "error", err)
		return caller{}, errUnavailable
	case !found, account.Disabled, account.Generation != session.Generation:
		s.config.Logger.Debug("token refused", "reason", "the account has changed", "user", session.User)
		return caller{}, errBadToken
	}
	who := callerOf(session.User, account)
	who.Expires, who.Fingerprint = session.Expires, session.Fingerprint
	return who, nil
}

// checkAccount makes sure that the account a caller has logged in to is still
// what it was, and returns as of when.
func (s *Server) checkAccount(ctx context.Context, account *notifier.Account) (notifier.Position, error) {
	generations, at, err := s.config.Store.AccountGenerations(ctx, []string{account.User})
	if err != nil {
		s.config.Logger.Error("account could not be read", "error", err)
		return at, errUnavailable
	}
	if generation, ok := generations[account.User]; !ok || generation != account.Generation {
		return at, errBadToken
	}
	return at, nil
}
