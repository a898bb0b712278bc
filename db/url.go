package db

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/jackc/pgx/v5"
)

// ErrURL says that a connection string can't be used, and nothing about its
// text: where it is malformed, nobody can tell which part is the password.
var ErrURL = errors.New("no usable connection string such as postgres://user:password@host:5432/database " +
	"(its options must be known ones, special characters of the password percent-encoded: @ is %40, / is %2F)")

// CheckURL tells whether a connection string can be used, without using it. It
// reads the files that the string names, such as certificates.
func CheckURL(text string) error {
	_, err := pgx.ParseConfig(text)
	if file, ok := errors.AsType[*fs.PathError](err); ok {
		return fmt.Errorf("read what the connection string names: %w", file)
	}
	if err != nil {
		return ErrURL
	}
	return nil
}
