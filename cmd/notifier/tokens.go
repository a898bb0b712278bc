package main

import (
	"fmt"
	"time"

	"example.com/notifier/cmd/notifier/tuning"
	"example.com/notifier/httpapi/auth"
	"github.com/spf13/cobra"
)

// tokenConfig is how tokens are signed and verified.
type tokenConfig struct {
	auth   auth.Config
	secret string
}

// define adds what verifying needs.
func (c *tokenConfig) define(s *settings) {
	s.Section("Tokens")
	c.defineKeys(s)
	define(s, "jwt-public-key", "file", "", "PEM file with the public keys that tokens are verified with", &c.auth.PublicKeyFile, parseText)
	define(s, "jwks-url", "url", "", "where the JSON Web Key Set is that tokens are verified with", &c.auth.JWKSURL, parseText)
	define(s, "jwks-file", "file", "", "the same as a file", &c.auth.JWKSFile, parseText)
	define(s, "jwt-leeway", "duration", "0s", "how much clocks may differ", &c.auth.Leeway, parseLeeway)
}

// defineKeys adds what signing and verifying have in common.
func (c *tokenConfig) defineKeys(s *settings) {
	define(s, "jwt-secret", "text", "", "secret that tokens are signed with, 32 bytes at least", &c.secret, parseText)
	define(s, "jwt-algorithms", "list", "", "algorithms accepted; default: the usual one of each key", &c.auth.Algorithms, tuning.List)
	define(s, "jwt-issuer", "text", "", "what a token's iss must be; default: anything", &c.auth.Issuer, parseText)
	define(s, "jwt-audience", "text", "", "what a token's aud must hold; default: anything", &c.auth.Audience, parseText)
	define(s, "jwt-user-claim", "path", "sub", "the claim with the user's id, dots leading into objects", &c.auth.UserClaim, parseText)
	define(s, "jwt-roles-claim", "path", "roles", "the claim with the user's roles: publisher, admin", &c.auth.RolesClaim, parseText)
}

// given reports whether there is any key to verify tokens with.
func (c *tokenConfig) given() bool {
	return c.secret != "" || c.auth.PublicKeyFile != "" || c.auth.JWKSURL != "" || c.auth.JWKSFile != ""
}

// config returns what the auth package is to be made from.
func (c *tokenConfig) config() auth.Config {
	config := c.auth
	config.Secret = []byte(c.secret)
	return config
}

func parseLeeway(text string) (time.Duration, error) {
	if text == "0" || text == "0s" {
		return 0, nil
	}
	return tuning.Duration(text)
}

// tokenCommand issues a token for trying things out, and for services that have
// no identity provider.
func (a *app) tokenCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "token",
		Short: "Issue a token for a user",
		Long: "token prints a JSON Web Token, alone on a line, that a server with the same settings takes.\n" +
			"It is signed with --jwt-private-key, or else with --jwt-secret.",
		Example: "  export NOTIFIER_JWT_SECRET=$(openssl rand -hex 32)\n" +
			"  notifier token --user alice --role publisher --ttl 1h",
		Args: cobra.NoArgs,
	}
	var c tokenConfig
	var grant auth.Grant
	var roles []auth.Role
	s := newSettings(command)
	s.Section("The token")
	define(s, "user", "text", "", "whose token it is", &grant.User, parseNotEmpty)
	define(s, "role", "publisher,admin", "", "what it allows besides subscribing", &roles, parseRoles)
	define(s, "ttl", "duration", "1h", "how long it is valid", &grant.TTL, tuning.Duration)
	s.Section("As the server is configured")
	c.defineKeys(s)
	define(s, "jwt-private-key", "file", "", "PEM file with the private key to sign with", &c.auth.PrivateKeyFile, parseText)
	command.RunE = func(*cobra.Command, []string) error {
		if err := s.resolve(a.getenv); err != nil {
			return err
		}
		issuer, err := auth.NewIssuer(c.config())
		if err != nil {
			return err
		}
		grant.Roles = auth.RolesOf(roles...)
		token, err := issuer.Issue(grant)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(a.out, token)
		return err
	}
	return command
}

func parseNotEmpty(text string) (string, error) {
	if text == "" {
		return "", errEmpty
	}
	return text, nil
}

func parseRoles(text string) ([]auth.Role, error) {
	names, _ := tuning.List(text)
	var roles []auth.Role
	for _, name := range names {
		role, err := auth.ParseRole(name)
		if err != nil {
			return nil, err
		}
		roles = append(roles, role)
	}
	return roles, nil
}
