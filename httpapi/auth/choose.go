package auth

import (
	"slices"

	"github.com/golang-jwt/jwt/v5"
)

// choice is which keys a token is tried with.
type choice struct {
	keys jwt.VerificationKeySet
	// stale: a key set that has been refreshed might hold the right one.
	stale bool
}

// candidates sorts the keys by how a token may mean them.
type candidates struct {
	anyID []key // keys without an id
	named []key // keys with the token's id
	known bool  // some key has the token's id, for whatever algorithm
	rest  []key // keys with an id, if the token has none
}

// choose finds the keys that a token's header means, among those that may be
// used with its algorithm. No other part of the header is heard.
func (v *Verifier) choose(t *jwt.Token) (choice, error) {
	if _, critical := t.Header["crit"]; critical {
		return choice{}, invalid(ReasonCritical)
	}
	id, ok := "", true
	if raw, present := t.Header["kid"]; present {
		if id, ok = raw.(string); !ok {
			return choice{}, invalid(ReasonMalformed)
		}
	}
	algorithm := t.Method.Alg()
	if !v.accepts(algorithm) {
		return choice{}, invalid(ReasonAlgorithm)
	}
	found := v.candidates(algorithm, id)
	keys := slices.Concat(found.named, found.anyID)
	if len(keys) == 0 && len(found.rest) == 1 {
		keys = found.rest // it can mean only this one
	}
	c := choice{stale: v.mayBeStale(algorithm) && !found.known && len(found.rest) == 0}
	for _, k := range keys {
		c.keys.Keys = append(c.keys.Keys, k.public)
	}
	switch {
	case len(keys) > 0:
		return c, nil
	case found.known:
		return c, invalid(ReasonAlgorithm) // the key is known, but not for this
	}
	return c, invalid(ReasonKey)
}

func (v *Verifier) candidates(algorithm, id string) candidates {
	var c candidates
	v.eachKey(func(k key) {
		fits := slices.Contains(k.algorithms, algorithm)
		switch {
		case k.id == "":
			if fits {
				c.anyID = append(c.anyID, k)
			}
		case k.id == id:
			c.known = true
			if fits {
				c.named = append(c.named, k)
			}
		case id == "" && fits:
			c.rest = append(c.rest, k)
		}
	})
	return c
}

func (v *Verifier) eachKey(visit func(key)) {
	for _, k := range v.secret {
		visit(k)
	}
	for _, s := range v.sources {
		for _, k := range s.loaded() {
			visit(k)
		}
	}
}

// accepts tells whether any key, also one that is not here yet, could be used
// with an algorithm.
func (v *Verifier) accepts(algorithm string) bool {
	if len(v.config.Algorithms) > 0 {
		return slices.Contains(v.config.Algorithms, algorithm)
	}
	if v.mayBeStale(algorithm) {
		return true
	}
	for _, k := range v.static() {
		if slices.Contains(k.algorithms, algorithm) {
			return true
		}
	}
	return false
}

// mayBeStale tells whether keys for an algorithm come from a set that changes.
func (v *Verifier) mayBeStale(algorithm string) bool {
	return !isSecretAlgorithm(algorithm) && slices.ContainsFunc(v.sources, func(s *source) bool { return s.ids })
}
