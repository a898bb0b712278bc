//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"example.com/notifier/httpapi/auth"
)

const (
	loginUser     = "alice"
	loginPassword = "correct horse battery staple"
	// guessers each guess from one address after the other.
	guessers = 32
	// junkRate is how many bad tokens come in a second.
	junkRate = 10_000
	liars    = 8
)

// loginAttack is what others do while somebody logs in.
type loginAttack struct {
	name string
	run  func(ctx context.Context, address string, done *atomic.Int64)
}

// measureLogins measures how long logging in takes, while others guess.
func (b *bench) measureLogins(ctx context.Context) error {
	url, err := b.cluster.database(ctx, "bench_logins")
	if err != nil {
		return err
	}
	hash, err := auth.HashPassword(loginPassword)
	if err != nil {
		return err
	}
	err = withConn(ctx, url, func(conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, insertUser, loginUser, hash)
		return err
	})
	if err != nil {
		return fmt.Errorf("make user: %w", err)
	}
	s, err := b.startServer(ctx, url)
	if err != nil {
		return err
	}
	return errors.Join(b.compareLogins(ctx, s.address), s.close())
}

func (b *bench) compareLogins(ctx context.Context, address string) error {
	t := &table{
		title:  fmt.Sprintf("(f) milliseconds of a login, %d after another", b.logins),
		header: []string{"", "from where one has logged in: p50", "p99", "from elsewhere: p50", "p99", "of others in a second"},
	}
	for i, attack := range []loginAttack{
		{"alone", func(context.Context, string, *atomic.Int64) {}},
		{fmt.Sprintf("beside %d who guess the user's password", guessers), guess},
		{fmt.Sprintf("beside bad tokens, %s a second", number(junkRate, 0)), lie},
	} {
		b.say("logins, %s", attack.name)
		home, elsewhere, others, err := b.runLogins(ctx, address, attack, i)
		if err != nil {
			return fmt.Errorf("logins, %s: %w", attack.name, err)
		}
		cell := func(all []float64, share float64) string { return number(percentile(all, share), 0) }
		t.add(attack.name, cell(home, 0.5), cell(home, 0.99), cell(elsewhere, 0.5), cell(elsewhere, 0.99), number(others, 0))
	}
	t.note("DRP's GET .../token with the right password, by argon2id. Who guesses does so from a new address each time.")
	return t.print(b.out)
}

// runLogins logs in from one address over and over, and each time from a new
// one, too.
func (b *bench) runLogins(ctx context.Context, address string, attack loginAttack, round int) (home, elsewhere []float64, others float64, err error) {
	attacking, end := context.WithCancel(ctx)
	var attackers sync.WaitGroup
	var done atomic.Int64
	start := clock()
	attackers.Go(func() { attack.run(attacking, address, &done) }) // ends with attacking
	defer attackers.Wait()
	defer end()
	for i := range b.logins {
		for from, times := range map[string]*[]float64{
			"127.0.0.1": &home, fmt.Sprintf("127.3.%d.%d", round, i+1): &elsewhere,
		} {
			began := clock()
			status, err := askToken(ctx, address, from, loginPassword)
			if err != nil || status != http.StatusOK {
				return nil, nil, 0, errors.Join(err, fmt.Errorf("the right password from %s is answered by status %d", from, status))
			}
			*times = append(*times, float64(clock()-began)/float64(time.Millisecond))
		}
	}
	slices.Sort(home)
	slices.Sort(elsewhere)
	return home, elsewhere, float64(done.Load()) / (clock() - start).Seconds(), nil
}

// clientAt returns who makes requests from an address of its own: all of 127.0.0.0/8 is here.
func clientAt(from string) *http.Client {
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	return &http.Client{Transport: &http.Transport{DialContext: dialer.DialContext}, Timeout: handshakeTimeout}
}

// askToken asks for a token by a password, from an address.
func askToken(ctx context.Context, address, from, password string) (status int, err error) {
	client := clientAt(from)
	defer client.CloseIdleConnections()
	return get(ctx, client, "http://"+address+"/api/v3/users/"+loginUser+"/token", func(r *http.Request) {
		r.SetBasicAuth(loginUser, password)
	})
}

func get(ctx context.Context, client *http.Client, url string, show func(*http.Request)) (status int, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	show(r)
	answer, err := client.Do(r)
	if err != nil {
		return 0, err
	}
	return answer.StatusCode, answer.Body.Close()
}

// guess tries passwords, from ever new addresses.
func guess(ctx context.Context, address string, done *atomic.Int64) {
	var all sync.WaitGroup
	for n := range guessers {
		all.Go(func() { // ends with ctx
			for i := 0; ctx.Err() == nil; i++ {
				from := fmt.Sprintf("127.%d.%d.%d", 10+n, i/250%250, i%250+1)
				if _, err := askToken(ctx, address, from, fmt.Sprint("guess ", i)); err == nil {
					done.Add(1)
				}
			}
		})
	}
	all.Wait()
}

// lie shows bad tokens, at a rate.
func lie(ctx context.Context, address string, done *atomic.Int64) {
	var all sync.WaitGroup
	for n := range liars {
		all.Go(func() { // ends with ctx
			client := clientAt(fmt.Sprintf("127.2.0.%d", n+1))
			defer client.CloseIdleConnections()
			_ = pace(ctx, 1<<30, time.Second*liars/junkRate, func(i int) error { // it ends with ctx only
				_, err := get(ctx, client, "http://"+address+"/api/v3/info", func(r *http.Request) {
					r.Header.Set("Authorization", fmt.Sprintf("Bearer eyJhbGciOiJIUzI1NiJ9.e30.%d", i))
				})
				if err == nil {
					done.Add(1)
				}
				return nil
			})
		})
	}
	all.Wait()
}
