package main

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"example.com/notifier/db"
	"example.com/notifier/db/embedded"
	"example.com/notifier/httpapi/auth"
)

// demoTTL is how long the tokens are valid that dev prints; a new start prints
// new ones.
const demoTTL = 30 * 24 * time.Hour

// leastSecret is how many bytes a token's signature asks of its secret.
const leastSecret = 32

// demoUser is somebody whom the demo knows.
type demoUser struct {
	name, who string
	password  string // "": it has another one
	token     string
	roles     []auth.Role
}

func demoUsers() []demoUser {
	return []demoUser{
		{name: "ann", who: "member of the project north"},
		{name: "ben", who: "member of the project south"},
		{name: "carol", who: "publisher and admin", roles: []auth.Role{auth.Publisher, auth.Admin}},
	}
}

// keptSecret returns the secret in a file, which is made if there is none.
func keptSecret(path string) (string, error) {
	kept, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		secret := rand.Text() + rand.Text() // 260 bits
		if err := writeSecret(path, secret); err != nil {
			return "", fmt.Errorf("keep a secret for tokens: %w", err)
		}
		return secret, nil
	case err != nil:
		return "", fmt.Errorf("read the secret for tokens: %w", err)
	}
	secret := strings.TrimSpace(string(kept))
	if len(secret) < leastSecret {
		return "", fmt.Errorf("the secret for tokens in %s has less than %d bytes: delete the file, and there will be a new one", path, leastSecret)
	}
	return secret, nil
}

// writeSecret leaves no half of it behind, whenever the process ends.
func writeSecret(path, secret string) error {
	unfinished := path + ".new"
	_ = os.Remove(unfinished) // its mode would stay
	if err := os.WriteFile(unfinished, []byte(secret+"\n"), 0o600); err != nil {
		return err
	}
	return os.Rename(unfinished, path)
}

// admitDemoUsers makes the users that are missing, and returns all with a
// token. Their passwords follow from the secret, so nothing more need be kept;
// a user that was there before keeps its own.
func admitDemoUsers(ctx context.Context, database *db.DB, tokens tokenConfig) ([]demoUser, error) {
	issuer, err := auth.NewIssuer(tokens.config())
	if err != nil {
		return nil, err
	}
	users := demoUsers()
	for i := range users {
		u := &users[i]
		if u.token, err = issuer.Issue(auth.Grant{User: u.name, Roles: auth.RolesOf(u.roles...), TTL: demoTTL}); err != nil {
			return nil, err
		}
		if u.password, err = u.admit(ctx, database, derivedPassword(tokens.secret, u.name)); err != nil {
			return nil, err
		}
	}
	return users, nil
}

// admit returns the password if it is the user's.
func (u *demoUser) admit(ctx context.Context, database *db.DB, password string) (string, error) {
	known, found, err := database.UserCredentials(ctx, u.name)
	if err != nil {
		return "", err
	}
	if found {
		if right, err := auth.VerifyPassword(known.PasswordHash, password); err != nil || !right {
			return "", nil
		}
		return password, nil
	}
	hash, err := auth.HashPassword(password)
	if err != nil {
		return "", err
	}
	return password, database.CreateUser(ctx, u.name, hash, roleNames(u.roles), operator())
}

func derivedPassword(secret, user string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte("password of " + user))
	return strings.ToLower(base32.StdEncoding.EncodeToString(mac.Sum(nil))[:12])
}

// hintText is what a person may try. Every indented line but those on the
// database and the users works as it stands, in any shell.
const hintText = `
notifier is at $HTTP: in a browser, that is the console. Postgres is at
  $DATABASE
Its data are kept in $FOLDER. Ctrl-C ends both. Whoever shows no token may do everything; who shows one is:

${USERS}
To follow the demo as ann, in other terminals, by Server-Sent Events, ernius, airlay, Digital Rebar and sysadm:

  curl ${CURL_TRUST}-N -H 'Authorization: Bearer $ANN' '$HTTP/events?topic=*.*.*'
  npx wscat ${WSCAT_TRUST}-c $WS/subscribe_to_events -x '{"access_id": "ann", "timestamp": 0, "auth": "$ANN"}' -w 600
  npx wscat ${WSCAT_TRUST}-c $WS/ws -x '{"auth": "$ANN", "action": "attach", "event": {"type": "issueUpdate", "id": "1"}}' -w 600
  npx wscat ${WSCAT_TRUST}-c '$WS/api/v3/ws?token=$ANN' -x 'register *.*.*' -w 600
  npx wscat ${WSCAT_TRUST}-c '$WS/sysadm?token=$ANN' -x '{"namespace": "events", "name": "subscribe", "id": "a", "args": ["issueUpdate"]}' -w 600

or by notifier's own client, and as ben, who sees other things:

  ${TRUST}NOTIFIER_TOKEN=$ANN $NOTIFIER watch --url $HTTP --user ann
  curl ${CURL_TRUST}-N -H 'Authorization: Bearer $BEN' '$HTTP/events?topic=*.*.*'

To have something happen, by SQL, and as carol over HTTP (or start with --activity 5/s):

  $PSQL -c "UPDATE demo.issues SET comments = comments + 1 WHERE id IN (1, 3)"
  ${TRUST}NOTIFIER_TOKEN=$CAROL $NOTIFIER push --url $HTTP --to ann 'hello'

To let ben into ann's project, and to make a token for somebody else:

  $PSQL -c "INSERT INTO demo.members (project_id, user_id) VALUES ('north', 'ben') ON CONFLICT DO NOTHING"
  NOTIFIER_JWT_SECRET=$(cat $SECRET) $NOTIFIER token --user dave

`

// hint tells a person what to try.
func (a *app) hint(s *server, postgres *embedded.Server, users []demoUser, secretFile string) string {
	at, certificate := s.hintedURL()
	psql := "psql"
	if path := postgres.Bin("psql"); fileExists(path) {
		psql = path
	}
	values := map[string]string{
		"HTTP": at, "WS": "ws" + strings.TrimPrefix(at, "http"), "DATABASE": postgres.URL(""), "FOLDER": postgres.Dir(),
		"NOTIFIER": quoted(os.Args[0]), "PSQL": quoted(psql) + " " + quoted(postgres.URL("")), "SECRET": quoted(secretFile),
	}
	if certificate != "" {
		file := quoted(certificate)
		values["TRUST"], values["CURL_TRUST"], values["WSCAT_TRUST"] = "SSL_CERT_FILE="+file+" ", "--cacert "+file+" ", "--ca "+file+" "
	}
	for _, u := range users {
		values[strings.ToUpper(u.name)] = u.token
		values["USERS"] += fmt.Sprintf("  %-5s  %s, password %s\n", u.name, u.who, cmp.Or(u.password, "as you have set it"))
	}
	return os.Expand(hintText, func(name string) string { return values[name] }) // "$(" is no name, and stays
}

// quoted has a shell take a text for one word.
func quoted(text string) string {
	if text != "" && strings.Trim(strings.ToLower(text), "abcdefghijklmnopqrstuvwxyz0123456789/._-:") == "" {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

// hintedURL is where commands on this host reach the server: without TLS, if
// there is such an address; and else the certificate that they must be told to
// trust, since nobody else does.
func (s *server) hintedURL() (url, certificate string) {
	for _, l := range s.listeners {
		if !l.secure {
			return l.url(), ""
		}
	}
	return s.listeners[0].url(), s.ownCertificate
}

func fileExists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
