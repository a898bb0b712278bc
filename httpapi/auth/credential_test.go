package auth_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"example.com/notifier/httpapi/auth"
)

func TestFromRequest(t *testing.T) {
	t.Parallel()
	basic := func(text string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(text)) }
	password := func(user, password string) auth.Credential {
		return auth.Credential{User: user, Password: password, ByPassword: true}
	}
	for _, test := range []struct {
		name    string
		headers []string
		query   string
		want    auth.Credential
		err     error
	}{
		{"nothing", nil, "", auth.Credential{}, auth.ErrMissing},
		{"bearer", []string{"Bearer tok"}, "", auth.Credential{Token: "tok"}, nil},
		{"scheme in any case", []string{"bEARER  tok "}, "", auth.Credential{Token: "tok"}, nil},
		{"bearer of nothing", []string{"Bearer"}, "token=q", auth.Credential{}, auth.ErrMalformed},
		{"bearer of blanks", []string{"Bearer   "}, "token=q", auth.Credential{}, auth.ErrMalformed},
		{"token alone", []string{"tok"}, "token=q", auth.Credential{}, auth.ErrMalformed},
		{"empty header", []string{""}, "token=q", auth.Credential{}, auth.ErrMalformed},
		{"other scheme", []string{"Digest x"}, "", auth.Credential{}, auth.ErrMalformed},
		{"two headers", []string{"Bearer a", "Bearer a"}, "", auth.Credential{}, auth.ErrMalformed},
		{"header wins", []string{"Bearer tok"}, "token=q", auth.Credential{Token: "tok"}, nil},
		{"basic", []string{basic("u:p:q")}, "", password("u", "p:q"), nil},
		{"basic in any case", []string{strings.ToLower("Basic") + basic("u:p")[5:]}, "", password("u", "p"), nil},
		{"basic with nothing", []string{basic(":")}, "", password("", ""), nil},
		{"basic without colon", []string{basic("u")}, "", auth.Credential{}, auth.ErrMalformed},
		{"basic, no base64", []string{"Basic !"}, "", auth.Credential{}, auth.ErrMalformed},
		{"query", nil, "a=b&token=tok", auth.Credential{Token: "tok"}, nil},
		{"query that ends in =", nil, "token=tok=", auth.Credential{Token: "tok="}, nil},
		{"escaped query", nil, "token=t%6Fk", auth.Credential{Token: "tok"}, nil},
		{"empty query", nil, "token=", auth.Credential{}, auth.ErrMissing},
		{"second name", nil, "token=&Token=tok", auth.Credential{Token: "tok"}, nil},
		{"first name wins", nil, "Token=b&token=a", auth.Credential{Token: "a"}, nil},
		{"query twice", nil, "token=a&token=b", auth.Credential{}, auth.ErrMalformed},
		{"name not asked for", nil, "access_token=a", auth.Credential{}, auth.ErrMissing},
		{"unreadable query", nil, "token=%zz", auth.Credential{}, auth.ErrMissing},
	} {
		r := httptest.NewRequest(http.MethodGet, "/?"+test.query, nil)
		r.Header["Authorization"] = test.headers
		got, err := auth.FromRequest(r, "token", "Token")
		if got != test.want || !errors.Is(err, test.err) {
			t.Errorf("%s: token %q, user %q, password %q, %v", test.name, got.Token, got.User, got.Password, err)
		}
	}
	r := httptest.NewRequest(http.MethodGet, "/?token=a", nil)
	if _, err := auth.FromRequest(r); !errors.Is(err, auth.ErrMissing) {
		t.Errorf("a query that is not asked for: %v", err)
	}
}

func TestCredential_SplitPassword(t *testing.T) {
	t.Parallel()
	got := auth.Credential{Token: "u:p:q"}.SplitPassword()
	if got != (auth.Credential{User: "u", Password: "p:q", ByPassword: true}) {
		t.Errorf("user %q, password %q, token %q", got.User, got.Password, got.Token)
	}
	for _, c := range []auth.Credential{{Token: "tok"}, {User: "u", ByPassword: true}, {}} {
		if c.SplitPassword() != c {
			t.Errorf("token %q has been split", c.Token)
		}
	}
}

func TestCredential_PrintsAsNothing(t *testing.T) {
	t.Parallel()
	log := &record{}
	c := auth.Credential{Token: "hunter1", User: "hunter3", Password: "hunter2"}
	l := auth.Login{User: "hunter3", Password: "hunter2"}
	log.logger().Info("x", "c", c, "l", l, "p", &c)
	text := log.String() + fmt.Sprintf("%v %+v %#v %s %q %v %+v %#v %v", c, c, c, c, c, l, l, l, []any{&c, &l})
	if strings.Contains(text, "hunter") {
		t.Error(text)
	}
}

func TestRedactURL(t *testing.T) {
	t.Parallel()
	jwt := "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0."
	for target, want := range map[string]string{
		"":                               "",
		"/":                              "/",
		"/ws?":                           "/ws?",
		"/sse?type=a&key=1":              "/sse?type=a&key=1",
		"/ws?token=abc":                  "/ws?token=REDACTED",
		"/ws?a=1&Token=abc&b=2":          "/ws?a=1&Token=REDACTED&b=2",
		"/ws?token=a=b":                  "/ws?token=REDACTED",
		"/ws?to%6ben=abc":                "/ws?to%6ben=REDACTED",
		"/ws?t%zzken=abc":                "/ws?t%zzken=REDACTED",
		"/ws?access_token=x&auth=y":      "/ws?access_token=REDACTED&auth=REDACTED",
		"/ws?a=1;token=x":                "/ws?a=1;token=REDACTED",
		"/ws?a=1#token=x":                "/ws?a=1#token=REDACTED",
		"/ws?a=/x?token=x":               "/ws?a=/x?token=REDACTED",
		"/ws?q=" + jwt:                   "/ws?q=REDACTED",
		"/ws?" + jwt:                     "/ws?REDACTED",
		"/ws?q=%65%79%4a.a.b":            "/ws?q=REDACTED",
		"/ws/" + jwt + "/x":              "/ws/REDACTED/x",
		"/ws?q=ntf1_abc":                 "/ws?q=REDACTED",
		"https://u:p@host/x?token=y":     "https://REDACTED@host/x?token=REDACTED",
		"postgres://u:p@x@host":          "postgres://REDACTED@host",
		"//u:p@host/":                    "//REDACTED@host/",
		"/mail/a@b.c":                    "/mail/a@b.c",
		"https://host/a@b":               "https://host/a@b",
		"/ws?password=x&token&cursor=c1": "/ws?password=REDACTED&token&cursor=c1",
	} {
		if got := auth.RedactURL(target); got != want {
			t.Errorf("%s becomes %s, want %s", target, got, want)
		}
	}
}
