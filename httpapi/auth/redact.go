package auth

import (
	"net/url"
	"strings"
)

// Redacted stands for what a log must not show.
const Redacted = "REDACTED"

// RedactURL returns a URL or a request's target without what lets somebody in:
// the values of parameters that may be tokens or passwords, a user in front of
// the host, and whatever looks like a token wherever it is. It works on the text
// as it was sent, since a target that can't be parsed gets logged as well.
func RedactURL(target string) string {
	path, query, hasQuery := strings.Cut(target, "?")
	path = redactUser(path)
	path = redactEach(path, "/", redactValue)
	if !hasQuery {
		return path
	}
	return path + "?" + redactQuery(query)
}

// redactQuery also cuts at semicolons and at the fragment: we don't, but some
// client that puts a token behind one thinks that servers do.
func redactQuery(query string) string {
	for _, separator := range []string{"&", ";", "#", "?"} {
		if strings.Contains(query, separator) {
			return redactEach(query, separator, redactQuery)
		}
	}
	name, value, ok := strings.Cut(query, "=")
	if !ok {
		return redactValue(query)
	}
	if isSecretName(name) {
		return name + "=" + Redacted
	}
	return redactValue(name) + "=" + redactValue(value)
}

func redactEach(text, separator string, redact func(string) string) string {
	parts := strings.Split(text, separator)
	for i := range parts {
		parts[i] = redact(parts[i])
	}
	return strings.Join(parts, separator)
}

// isSecretName tells whether a parameter may hold a secret. A name that can't
// be read may.
func isSecretName(name string) bool {
	name, err := url.QueryUnescape(name)
	if err != nil {
		return true
	}
	name = strings.ToLower(name)
	for _, part := range []string{"token", "auth", "password", "passwd", "secret", "jwt", "credential", "session", "apikey", "api_key"} {
		if strings.Contains(name, part) {
			return true
		}
	}
	return false
}

// redactValue hides what contains the beginning of a JSON object in base64url,
// as every JSON Web Token does, or of a session of ours, also if it is escaped.
func redactValue(value string) string {
	plain, err := url.QueryUnescape(value)
	if err != nil {
		plain = value
	}
	for _, text := range []string{value, plain} {
		if strings.Contains(text, "eyJ") || strings.Contains(text, signerPrefix) {
			return Redacted
		}
	}
	return value
}

func redactUser(path string) string {
	scheme, rest, ok := strings.Cut(path, "//")
	if !ok || scheme != "" && !strings.HasSuffix(scheme, ":") {
		return path
	}
	host, tail, slash := strings.Cut(rest, "/")
	at := strings.LastIndexByte(host, '@')
	if at < 0 {
		return path
	}
	path = scheme + "//" + Redacted + host[at:]
	if slash {
		path += "/" + tail
	}
	return path
}
