// Command versions runs what depends on the version of Postgres on each one that is supported:
//
//	go run ./cmd/versions                    # 14 to 18, and newer ones that this machine has
//	go run ./cmd/versions 14=/folder/bin 18  # these, one from a folder that is named
//
// Binaries come from a named folder, from where systems install them, or by download. Of each
// version it says whether it passed, failed or was not found. It fails if one failed, if one that
// was asked for was not found, or if none passed.
//
// The tests run without the race detector: what goes on between goroutines does not depend on the
// server's version, and `make test` looks for it.
package main
