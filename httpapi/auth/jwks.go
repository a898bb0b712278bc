package auth

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/MicahParks/jwkset"
)

// parseJWKS returns the usable keys of a JSON Web Key Set, and for each of the
// others why it is left out: a set may well list keys for other purposes, and
// one that we don't understand must not cost us those we do. A set without any
// usable key is still what its owner says now, so it replaces the old one.
//
// The library parses single keys only. Its own storage forgets the old keys
// before it has understood the new ones, reads without a limit, and makes
// requests with an unknown key id wait for each other.
func parseJWKS(data []byte, algorithms []string) (keys []key, leftOut []error, err error) {
	var set struct {
		Keys *[]json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(data, &set); err != nil {
		return nil, nil, errors.New("not JSON, or no key set")
	}
	if set.Keys == nil {
		return nil, nil, errors.New("key set has no keys member")
	}
	if len(*set.Keys) > maxKeys {
		return nil, nil, fmt.Errorf("more than %d keys", maxKeys)
	}
	for i, raw := range *set.Keys {
		k, err := parseJWK(raw, algorithms)
		if err != nil {
			leftOut = append(leftOut, fmt.Errorf("key %d: %w", i+1, err))
			continue
		}
		keys = append(keys, k)
	}
	return keys, leftOut, nil
}

func parseJWK(raw json.RawMessage, algorithms []string) (key, error) {
	var m jwkset.JWKMarshal
	if err := json.Unmarshal(raw, &m); err != nil {
		return key{}, errors.New("not a JSON Web Key")
	}
	switch {
	case m.KTY == jwkset.KtyOct:
		return key{}, errors.New("it is a secret: only jwt-secret can be one")
	case m.USE != "" && m.USE != jwkset.UseSig:
		return key{}, errors.New("its use is not signatures")
	case len(m.KEYOPS) > 0 && !slices.Contains(m.KEYOPS, jwkset.KeyOpsVerify):
		return key{}, errors.New("its operations are not to verify")
	}
	// Trust rests on where the set comes from, not on certificates in it.
	m.X5C, m.X5U, m.X5T, m.X5TS256 = nil, "", "", ""
	parsed, err := jwkset.NewJWKFromMarshal(m, jwkset.JWKMarshalOptions{}, jwkset.JWKValidateOptions{})
	if err != nil {
		return key{}, fmt.Errorf("parse: %w", err)
	}
	bound, err := bind(parsed.Key(), m.ALG.String(), algorithms)
	if err != nil {
		return key{}, err
	}
	return key{id: m.KID, algorithms: bound, public: parsed.Key()}, nil
}
