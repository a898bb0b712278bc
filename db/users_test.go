package db_test

import (
	"bytes"
	"errors"
	"testing"

	"example.com/notifier/db"
	"example.com/notifier/db/dbtest"
	"example.com/notifier/notifier"
	"github.com/google/go-cmp/cmp"
)

func credentials(t *testing.T, d *db.DB, user string) (c notifier.Credentials, found bool) {
	t.Helper()
	c, found, err := d.UserCredentials(t.Context(), user)
	if err != nil {
		t.Fatal(err)
	}
	return c, found
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestUsers_FromCreatingToDisabling(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	conn := dbtest.Connect(t, url)
	d := open(t, db.Config{URL: asServer(url)})
	must(t, d.CreateUser(t.Context(), "alice", "hash", []string{"admin"}, "the operator"))
	must(t, d.CreateUser(t.Context(), "bob", "", nil, ""))
	first, found := credentials(t, d, "alice")
	want := notifier.Credentials{PasswordHash: "hash", Roles: []string{"admin"}, Generation: first.Generation}
	if diff := cmp.Diff(want, first); !found || diff != "" {
		t.Errorf("found %v (-want +got):\n%s", found, diff)
	}
	if c, found := credentials(t, d, "bob"); !found || c.PasswordHash != "" || len(c.Roles) > 0 {
		t.Errorf("bob: %+v, found %v", c, found)
	}
	must(t, d.SetPassword(t.Context(), "alice", "new", "alice"))
	second, _ := credentials(t, d, "alice")
	must(t, d.SetDisabled(t.Context(), "alice", true, "the operator"))
	third, _ := credentials(t, d, "alice")
	if second.PasswordHash != "new" || second.Generation <= first.Generation || second.Disabled {
		t.Errorf("with a new password: %+v, before %+v", second, first)
	}
	if !third.Disabled || third.Generation <= second.Generation {
		t.Errorf("disabled: %+v, before %+v", third, second)
	}
	must(t, d.SetDisabled(t.Context(), "alice", false, ""))
	if c, _ := credentials(t, d, "alice"); c.Disabled || c.Generation != third.Generation {
		t.Errorf("enabled: %+v, before %+v", c, third)
	}
	login := scalar[string](t, conn, `SELECT session_user`)
	got := column[string](t, conn, `
		SELECT control || ' ' || recipient || ' by ' || principal
		FROM notifier.events
		ORDER BY id`)
	if diff := cmp.Diff([]string{
		"access_granted alice by the operator",
		"access_granted bob by " + login,
		"access_changed alice by alice",
		"access_revoked alice by the operator",
		"access_granted alice by " + login,
	}, got); diff != "" {
		t.Errorf("control rows (-want +got):\n%s", diff)
	}
}

func TestUsers_WhatIsRefused(t *testing.T) {
	t.Parallel()
	d := open(t, db.Config{URL: asServer(dbtest.New(t))})
	must(t, d.CreateUser(t.Context(), "alice", "", nil, ""))
	if err := d.CreateUser(t.Context(), "alice", "other", nil, ""); !errors.Is(err, db.ErrUserExists) {
		t.Errorf("created twice: %v", err)
	}
	if c, _ := credentials(t, d, "alice"); c.PasswordHash != "" {
		t.Errorf("creating it again has changed the password: %+v", c)
	}
	for _, name := range []string{"", "a\x00b", "\xff"} {
		if err := d.CreateUser(t.Context(), name, "", nil, ""); !errors.Is(err, notifier.ErrUnstorable) {
			t.Errorf("create %q: %v", name, err)
		}
		if _, found := credentials(t, d, name); found {
			t.Errorf("found %q", name)
		}
	}
	if err := d.SetPassword(t.Context(), "nobody", "hash", ""); !errors.Is(err, db.ErrNoUser) {
		t.Errorf("password of nobody: %v", err)
	}
	if err := d.SetDisabled(t.Context(), "nobody", true, ""); !errors.Is(err, db.ErrNoUser) {
		t.Errorf("disable nobody: %v", err)
	}
}

// A login is compared with the generations of those who may be logged in.
func TestAccountGenerations(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	d := open(t, db.Config{URL: asServer(url)})
	for _, user := range []string{"alice", "bob", "carol"} {
		must(t, d.CreateUser(t.Context(), user, "hash", nil, ""))
	}
	must(t, d.SetDisabled(t.Context(), "bob", true, ""))
	alice, _ := credentials(t, d, "alice")
	got, at, err := d.AccountGenerations(t.Context(), []string{"alice", "bob", "nobody", "a\x00", "\xff", ""})
	must(t, err)
	if diff := cmp.Diff(map[string]int64{"alice": alice.Generation}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	must(t, d.SetPassword(t.Context(), "alice", "new", ""))
	later, after, err := d.AccountGenerations(t.Context(), []string{"alice"})
	must(t, err)
	if later["alice"] <= got["alice"] || !after.Includes(at) || at.Includes(after) {
		t.Errorf("after a new password: %v at %v, before %v at %v", later, after, got, at)
	}
}

// Whether passwords are a way in at all.
func TestAnyPassword(t *testing.T) {
	t.Parallel()
	d := open(t, db.Config{URL: asServer(dbtest.New(t))})
	steps := []struct {
		what string
		step func() error
		want bool
	}{
		{"nobody", func() error { return nil }, false},
		{"a user without one", func() error { return d.CreateUser(t.Context(), "alice", "", nil, "") }, false},
		{"a user with one", func() error { return d.CreateUser(t.Context(), "bob", "hash", nil, "") }, true},
		{"a disabled user", func() error { return d.SetDisabled(t.Context(), "bob", true, "") }, false},
	}
	for _, s := range steps {
		must(t, s.step())
		if got, err := d.AnyPassword(t.Context()); err != nil || got != s.want {
			t.Errorf("%s: %v, %v", s.what, got, err)
		}
	}
}

// Every instance must sign with the same key.
func TestSigningKey(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	one, err := open(t, db.Config{URL: asServer(url)}).SigningKey(t.Context())
	must(t, err)
	two, err := open(t, db.Config{URL: asServer(url)}).SigningKey(t.Context())
	must(t, err)
	if len(one) != 32 || !bytes.Equal(one, two) {
		t.Errorf("%d and %d bytes, equal: %v", len(one), len(two), bytes.Equal(one, two))
	}
}
