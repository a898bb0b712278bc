package db_test

import (
	"errors"
	"strings"
	"testing"

	"example.com/notifier/db"
)

func TestCheckURL_QuotesNoPartOfWhatMayBeThePassword(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"postgres://u:hun/ter2@h/d",
		"postgres://u:a b@hunter2@h/d",
		"postgres://u:hunter2%zz@h/d",
		"postgres://u:hunter2@h:port/d",
		"postgres://u:hunter2@h/d?sslmode=perhaps",
		"hunter2",
		"host=h password='a hunter2",
		"host=h PASSWORD=hunter2 port",
		"host=h password = hunter2 port",
		"host=h password=a hunter2 port=1",
	} {
		err := db.CheckURL(text)
		if !errors.Is(err, db.ErrURL) || strings.Contains(err.Error(), "hun") || strings.Contains(err.Error(), "ter2") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestCheckURL_NamesAMissingFile(t *testing.T) {
	t.Parallel()
	err := db.CheckURL("postgres://u:hunter2@h/d?sslmode=verify-full&sslrootcert=/nonexistent/ca.pem")
	if err == nil || !strings.Contains(err.Error(), "/nonexistent/ca.pem") || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("%v", err)
	}
}

func TestCheckURL_TakesWhatCanBeUsed(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"postgres://u:p%40%2F@h/d", "postgresql:///d?host=/tmp", `host=h password='it\'s'`, "host=h password=x port=5433"} {
		if err := db.CheckURL(text); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}
