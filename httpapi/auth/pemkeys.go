package auth

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

// maxKeys bounds the keys of one file or set.
const maxKeys = 64

// parsePublicPEM returns the public keys of a PEM file. Several are for
// rotation: the old one and the new one.
func parsePublicPEM(data []byte, algorithms []string) ([]key, error) {
	var keys []key
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		public, err := parsePublicBlock(block)
		if err != nil {
			return nil, err
		}
		bound, err := bind(public, "", algorithms)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key{algorithms: bound, public: public})
		if len(keys) > maxKeys {
			return nil, fmt.Errorf("more than %d keys", maxKeys)
		}
	}
	if len(keys) == 0 {
		return nil, errors.New("no PEM block")
	}
	return keys, nil
}

func parsePublicBlock(block *pem.Block) (any, error) {
	switch block.Type {
	case "PUBLIC KEY":
		return x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		return x509.ParsePKCS1PublicKey(block.Bytes)
	case "CERTIFICATE":
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		return certificate.PublicKey, nil
	case "PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY":
		// Whoever only verifies should not be able to sign.
		return nil, errors.New("this is a private key, give its public half")
	}
	return nil, fmt.Errorf("PEM block is a %q, not a PUBLIC KEY or CERTIFICATE", block.Type)
}

// parsePrivatePEM returns the key of a PEM file that holds exactly one.
func parsePrivatePEM(data []byte) (crypto.Signer, error) {
	block, rest := pem.Decode(data)
	for block != nil && block.Type == "EC PARAMETERS" { // written in front by openssl ecparam
		block, rest = pem.Decode(rest)
	}
	if block == nil {
		return nil, errors.New("no PEM block")
	}
	if len(bytes.TrimSpace(rest)) > 0 {
		return nil, errors.New("more than one key")
	}
	private, err := parsePrivateBlock(block)
	if err != nil {
		return nil, err
	}
	signer, ok := private.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("key of type %T can't sign", private)
	}
	return signer, nil
}

func parsePrivateBlock(block *pem.Block) (any, error) {
	switch block.Type {
	case "PRIVATE KEY":
		return x509.ParsePKCS8PrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		return x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		return x509.ParseECPrivateKey(block.Bytes)
	}
	return nil, fmt.Errorf("PEM block is a %q, not a PRIVATE KEY", block.Type)
}
