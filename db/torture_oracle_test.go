package db_test

import (
	"cmp"
	"slices"
	"testing"
	"time"

	"example.com/notifier/db/dbtest"
	"example.com/notifier/notifier"
)

// truthRow is a committed event.
type truthRow struct {
	notifier.Event // ID, TxID, CreatedAt
	token          token
	object         int // of whose order the subscribers must see; 0: none
}

// truth is what the table holds when all is over.
type truth struct {
	rows  []truthRow // by id
	byID  map[int64]*truthRow
	plain map[int][]*truthRow // of each user, by created_at, which is when they were written
	odd   map[int][]*truthRow // of each user, created at some other time
}

func (x *torture) readTruth(t *testing.T) *truth {
	t.Helper()
	rows, err := dbtest.Connect(t, x.url).Query(t.Context(), `
		SELECT id, txid, created_at, type, CASE WHEN type = 'object' THEN key::int ELSE 0 END,
			coalesce(substr(recipient, 5)::int, -1), principal
		FROM notifier.events
		ORDER BY id`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	f := &truth{byID: map[int64]*truthRow{}, plain: map[int][]*truthRow{}, odd: map[int][]*truthRow{}}
	var owners []int
	for rows.Next() {
		var r truthRow
		var user int
		var principal string
		if err := rows.Scan(&r.ID, &r.TxID, &r.CreatedAt, &r.Type, &r.object, &user, &principal); err != nil {
			t.Fatal(err)
		}
		r.token = parseToken(principal)
		f.rows = append(f.rows, r)
		owners = append(owners, user)
	}
	if rows.Err() != nil {
		t.Fatal(rows.Err())
	}
	f.index(owners)
	return f
}

func (f *truth) index(owners []int) {
	for i := range f.rows {
		r := &f.rows[i]
		f.byID[r.ID] = r
		lists := f.plain
		if r.Type == "odd" {
			lists = f.odd
		}
		lists[owners[i]] = append(lists[owners[i]], r)
		lists[everybody] = append(lists[everybody], r)
	}
	for _, list := range f.plain {
		slices.SortFunc(list, func(a, b *truthRow) int { return a.CreatedAt.Compare(b.CreatedAt) })
	}
}

// everybody is the user -1 of a session that wants all, and here the key of all
// rows.
const everybody = -1

// judge compares everything with everything.
func (x *torture) judge(t *testing.T, f *truth) {
	x.judgeWriters(t, f)
	for _, s := range x.sessions {
		if problems := s.judge(f); problems > 0 {
			t.Errorf("the subscriber of %s since %v, joined at %v: %d problems, of which the first: %v",
				s.subscriber.User(), s.since, s.joined, problems, s.first)
		}
	}
}

// judgeWriters: what is stored was committed, and what was committed is stored.
func (x *torture) judgeWriters(t *testing.T, f *truth) {
	found := make([][]bool, len(x.writers))
	for i, w := range x.writers {
		found[i] = make([]bool, len(w.outcomes))
	}
	for i := range f.rows {
		by := f.rows[i].token
		if by.writer < 0 || int(by.writer) >= len(found) || int(by.n) >= len(found[by.writer]) || found[by.writer][by.n] {
			t.Errorf("event %d is by nobody, or there twice: %v", f.rows[i].ID, by)
			continue
		}
		found[by.writer][by.n] = true
	}
	for i, w := range x.writers {
		for n, is := range w.outcomes {
			if is == pending || is == stored && !found[i][n] || is == lost && found[i][n] {
				t.Errorf("event %d of writer %d: its outcome is %d, in the table: %t", n, i, is, found[i][n])
			}
		}
	}
}

// judge returns how many events the session got that it should not have, or did
// not get that it should.
func (s *session) judge(f *truth) (problems int) {
	report := func(what string, id int64) {
		if problems == 0 {
			s.first = verdict{what, id}
		}
		problems++
	}
	if s.inbox.ended != "" {
		report(string(s.inbox.ended), 0)
	}
	live := s.inbox.all()
	got := make(map[int64]bool, len(live)+len(s.replayed))
	for i, d := range slices.Concat(s.replayed, live) {
		r := f.byID[d.id]
		switch {
		case r == nil || r.token != d.token:
			report("was never committed", d.id)
			continue
		case got[d.id]:
			report("came twice", d.id)
		case !s.wants(r):
			report("is for another, or too old", d.id)
		case !s.after.Covers(&r.Event):
			report("came after the end", d.id)
		case (i < len(s.replayed)) != s.joined.Covers(&r.Event):
			report("came the wrong way", d.id)
		}
		got[d.id] = true
	}
	s.judgeOrder(f, live, report)
	for _, r := range s.window(f) {
		if !got[r.ID] && s.wants(r) && s.before.Covers(&r.Event) && (s.whole || !s.joined.Covers(&r.Event)) {
			report("is missing", r.ID)
		}
	}
	return problems
}

// verdict is what went wrong with which event.
type verdict struct {
	what string
	id   int64
}

func (s *session) wants(r *truthRow) bool {
	return s.since.IsZero() || !r.CreatedAt.Before(s.since)
}

// window returns the events of the session's user that it may have got.
func (s *session) window(f *truth) []*truthRow {
	plain := f.plain[s.user]
	at := func(when time.Time) int {
		i, _ := slices.BinarySearchFunc(plain, when, func(r *truthRow, when time.Time) int { return r.CreatedAt.Compare(when) })
		return i
	}
	first := 0
	if !s.since.IsZero() {
		first = at(s.since)
	}
	end := at(s.end.Add(time.Second)) // no event comes before it is written
	return slices.Concat(f.odd[s.user], plain[first:max(first, end)])
}

// judgeOrder: replay goes by time and id; live, the events of an object come in
// the order in which its row was locked.
func (s *session) judgeOrder(f *truth, live []delivery, report func(string, int64)) {
	for i := 1; i < len(s.replayed); i++ {
		a, b := f.byID[s.replayed[i-1].id], f.byID[s.replayed[i].id]
		if a != nil && b != nil && cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.ID, b.ID)) >= 0 {
			report("was replayed out of order", b.ID)
		}
	}
	last := map[int]int64{}
	for _, d := range live {
		r := f.byID[d.id]
		if r == nil || r.object == 0 {
			continue
		}
		if r.ID < last[r.object] {
			report("came before an older one of its object", r.ID)
		}
		last[r.object] = r.ID
	}
}
