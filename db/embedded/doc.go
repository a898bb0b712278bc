// Package embedded runs a private PostgreSQL cluster as a child of this process.
//
// A cluster lives in one folder (Config.Dir):
//
//	data/           what initdb made; never wiped, whatever is found in it
//	data.new-*/     an initdb that was not finished; swept at the next start
//	postgres.log    the server's log since its last start (postgres.log.old: the one before)
//	notifier.lock   held for as long as a process of ours owns the folder
//
// The server is a direct child in a process group of its own, so that Ctrl-C on a
// terminal reaches only us and the shutdown stays in order. A killed owner therefore
// leaves its server running; the next Start finds the folder's lock free, recognises
// the server as started by this package, stops it cleanly and starts it again.
//
// Binaries are looked for on the machine first (see Find) and downloaded only when
// there are none and Config.Download allows it.
package embedded
