package auth_test

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/notifier/httpapi/auth"
)

// right is a hash of "password" of low cost, from the reference implementation's
// test vectors: what others hashed can be used here.
const right = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4"

func stored(hash string) func(context.Context) (string, error) {
	return func(context.Context) (string, error) { return hash, nil }
}

func login(user, address, password string) auth.Login {
	return auth.Login{User: user, Address: netip.MustParseAddr(address), Password: password}
}

func TestHashPassword_IsInPHCFormWithASaltOfItsOwn(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for range 2 {
		hash, err := auth.HashPassword("hunter2")
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(hash, "$argon2id$v=19$m=19456,t=2,p=1$") || seen[hash] {
			t.Errorf("hash %s", hash)
		}
		seen[hash] = true
		if err := auth.NewLogins(auth.LoginConfig{}).Check(t.Context(), login("alice", "10.0.0.1", "hunter2"), stored(hash)); err != nil {
			t.Error(err)
		}
	}
	for _, password := range []string{"", strings.Repeat("x", auth.MaxPassword+1)} {
		if hash, err := auth.HashPassword(password); err == nil {
			t.Errorf("%d bytes become %s", len(password), hash)
		}
	}
}

func TestLogins_Check(t *testing.T) {
	t.Parallel()
	unavailable := errors.New("database is away")
	for _, test := range []struct {
		name, user, password string
		hash                 func(context.Context) (string, error)
		want                 error
	}{
		{"right", "alice", "password", stored(right), nil},
		{"wrong", "alice", "hunter3", stored(right), auth.ErrWrongPassword},
		{"part", "alice", "passwor", stored(right), auth.ErrWrongPassword},
		{"empty", "alice", "", stored(right), auth.ErrWrongPassword},
		{"huge", "alice", strings.Repeat("x", 1<<20), stored(right), auth.ErrWrongPassword},
		{"no such user", "bob", "password", stored(""), auth.ErrWrongPassword},
		{"impossible user", "\x00", "password", stored(right), auth.ErrWrongPassword},
		{"database away", "alice", "password", func(context.Context) (string, error) { return "", unavailable }, unavailable},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			err := auth.NewLogins(auth.LoginConfig{}).Check(t.Context(), login(test.user, "10.0.0.1", test.password), test.hash)
			if !errors.Is(err, test.want) {
				t.Errorf("%v, want %v", err, test.want)
			}
		})
	}
}

// What a row of the users' table says must not stop the server, nor let in.
func TestCheckHash(t *testing.T) {
	t.Parallel()
	if err := auth.CheckHash(right); err != nil {
		t.Error(err)
	}
	good := strings.Split(right, "$")
	with := func(part int, text string) string {
		parts := append([]string(nil), good...)
		parts[part] = text
		return strings.Join(parts, "$")
	}
	for _, hash := range []string{
		"", "password", "$2b$12$abcdefghijklmnopqrstuv", right + "$", "x" + right,
		with(1, "argon2i"), with(2, "v=16"), with(2, ""), with(3, "m=64,t=1"), with(3, "m=64,t=1,p=1,x=1"), with(3, "m=064,t=1,p=1"),
		with(3, "m=7,t=1,p=1"), with(3, "m=64,t=0,p=1"), with(3, "m=64,t=1,p=0"), with(3, "m=64,t=17,p=1"), with(3, "m=262145,t=1,p=1"),
		with(3, "m=4294967295,t=1,p=1"), with(3, "m=64,t=1,p=256"), with(3, "m=-1,t=1,p=1"),
		with(4, ""), with(4, "AAAA"), with(4, "!!!!!!!!!!!!"), with(4, strings.Repeat("A", 100)), with(5, ""), with(5, "AAAA"), with(5, good[5]+"="),
	} {
		if auth.CheckHash(hash) == nil {
			t.Errorf("%q is a hash", hash)
		}
		err := auth.NewLogins(auth.LoginConfig{}).Check(t.Context(), login("alice", "10.0.0.1", "password"), stored(hash))
		if err == nil || hash != "" && errors.Is(err, auth.ErrWrongPassword) {
			t.Errorf("%q lets in, or says nothing: %v", hash, err)
		}
	}
}

// It compares times, so it does not run beside others.
func TestLogins_AnUnknownUserCostsAsMuch(t *testing.T) {
	hash, err := auth.HashPassword("hunter2")
	if err != nil {
		t.Fatal(err)
	}
	cost := func(hash string) time.Duration {
		least := time.Hour
		for range 3 {
			logins := auth.NewLogins(auth.LoginConfig{})
			started := time.Now()
			if err := logins.Check(t.Context(), login("x", "10.0.0.1", "wrong"), stored(hash)); !errors.Is(err, auth.ErrWrongPassword) {
				t.Fatal(err)
			}
			least = min(least, time.Since(started))
		}
		return least
	}
	if known, unknown := cost(hash), cost(""); unknown < known/3 || unknown > known*3 {
		t.Errorf("known %v, unknown %v", known, unknown)
	}
}

// A throttled login is refused before anything is spent on it.
func TestLogins_DoNotAskForWhatIsThrottled(t *testing.T) {
	t.Parallel()
	clock := newClock()
	logins := auth.NewLogins(auth.LoginConfig{Throttle: auth.ThrottleConfig{Clock: clock.Now}})
	asked := 0
	check := func(password string) error {
		return logins.Check(t.Context(), login("alice", "10.0.0.1", password), func(context.Context) (string, error) {
			asked++
			return right, nil
		})
	}
	for range 5 {
		if err := check("wrong"); !errors.Is(err, auth.ErrWrongPassword) {
			t.Fatal(err)
		}
	}
	for range 10 {
		throttled, ok := errors.AsType[*auth.ThrottledError](check("password"))
		if !ok || throttled.RetryAfter != time.Second {
			t.Fatalf("the sixth is tried: %v", throttled)
		}
	}
	if asked != 5 {
		t.Errorf("the hash was asked for %d times", asked)
	}
	clock.Advance(time.Second)
	if err := check("password"); err != nil {
		t.Errorf("after the delay: %v", err)
	}
}

// A login that panics or is given up must not count for ever as being tried.
func TestLogins_EndEveryTry(t *testing.T) {
	t.Parallel()
	logins := auth.NewLogins(auth.LoginConfig{})
	for range 20 {
		func() {
			defer func() { _ = recover() }()
			logins.Check(t.Context(), login("alice", "10.0.0.1", "x"), func(context.Context) (string, error) { panic("a bug") })
		}()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		err := logins.Check(ctx, login("alice", "10.0.0.1", "x"), func(ctx context.Context) (string, error) { return "", ctx.Err() })
		if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
	if err := logins.Check(t.Context(), login("alice", "10.0.0.1", "password"), stored(right)); err != nil {
		t.Error(err)
	}
}

// Who guesses one user's password from very many addresses neither locks that
// user out where they were before, nor keeps others waiting.
func TestLogins_AnAttackFromManyAddresses(t *testing.T) {
	t.Parallel()
	hash, err := auth.HashPassword("hunter2")
	if err != nil {
		t.Fatal(err)
	}
	logins := auth.NewLogins(auth.LoginConfig{Hashing: 2})
	if err := logins.Check(t.Context(), login("alice", "192.0.2.1", "hunter2"), stored(hash)); err != nil {
		t.Fatal(err)
	}
	var hashed atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	var attack sync.WaitGroup
	for i := range 16 { // as many as may wait in one user's name
		attack.Go(func() { // ends with cancel
			for address := netip.AddrFrom4([4]byte{10, byte(i), 0, 0}); ctx.Err() == nil; address = address.Next() {
				err := logins.Check(ctx, auth.Login{User: "alice", Address: address, Password: "guess"}, stored(hash))
				if errors.Is(err, auth.ErrWrongPassword) {
					hashed.Add(1)
				}
			}
		})
	}
	defer attack.Wait()
	defer cancel()
	eventually(t, "the attack goes on", func() bool { return hashed.Load() > 0 })
	for _, l := range []auth.Login{login("alice", "192.0.2.1", "hunter2"), login("bob", "198.51.100.7", "hunter2")} {
		for range 3 {
			before := hashed.Load()
			if err := logins.Check(t.Context(), l, stored(hash)); err != nil {
				t.Errorf("%s: %v", l.User, err)
			}
			if waited := hashed.Load() - before; waited > 8 {
				t.Errorf("%s waited for %d guesses", l.User, waited)
			}
		}
	}
}
