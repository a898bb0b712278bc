package embedded

import (
	"context"
	"errors"
	"fmt"
)

// chooseBinaries finds the programs for a data folder made by a major version (0: a new one).
// Binaries named by the caller are taken or refused, never replaced by others.
func chooseBinaries(ctx context.Context, c Config, f finder, made int) (Binaries, error) {
	if c.BinDir != "" {
		b, err := f.probe(ctx, c.BinDir)
		if err != nil {
			return Binaries{}, fmt.Errorf("use the named PostgreSQL binaries: %w", err)
		}
		return matching(c, b, made)
	}
	b, err := f.find(ctx, made)
	if err == nil || ctx.Err() != nil {
		return b, err
	}
	if c.Download.Allowed && (made == 0 || made == majorOf(c.Download.Version)) {
		return download(ctx, c, f)
	}
	if made == 0 {
		return Binaries{}, err
	}
	other, otherErr := f.find(ctx, 0) // only to say what there is instead
	if otherErr != nil && !errors.Is(otherErr, ErrNoBinaries) {
		return Binaries{}, otherErr
	}
	return matching(c, other, made)
}

// matching refuses binaries of another major version than the data folder's.
func matching(c Config, b Binaries, made int) (Binaries, error) {
	if made != 0 && b.Major != made {
		return Binaries{}, &VersionError{DataDir: c.dataDir(), Data: made, Found: b.Major, BinDir: b.Dir}
	}
	return b, nil
}
