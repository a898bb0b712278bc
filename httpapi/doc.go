// Package httpapi is the side of the server that faces the network: HTTP
// requests, and the WebSocket connections of every protocol.
//
// # The model
//
// A request enters through the guard (who may ask at all: guard.go), finds its
// route in one table (server.go) and is either answered at once or becomes a
// connection. A connection is the same for every protocol (conn.go): one
// goroutine that waits for the client (idle.go), and the outbox of the core, which
// is written without a goroutine as long as the socket takes what there is
// (socket.go). What differs
// between protocols is a [codec]: what a client's message asks for, and the
// bytes that carry events (ernius.go, airlay.go, drp.go, sysadm.go). Server-Sent
// Events are a receiver of their own kind, an answer without end that its request's
// goroutine writes (sse_open.go, sse_stream.go).
//
// A client's events come live from the hub, or, while it is behind, from the log at
// its own pace (delivery.go): because it was away and resumes (resume.go), because
// it asks for what is stored by its time (replay.go), or because it is slow.
//
// Who a client is, a token says (identity.go), or a password of an account of
// ours, or a token we gave for one (accounts.go). What rests on a token ends when
// it expires (lease.go), and what rests on an account when that changes: the hub
// sees to it, because the change is a row of the log that it delivers.
//
// The WebSocket library does the handshake, reads frames and answers control
// frames. It writes to a socket of ours (wire.go), so its frames and the
// ready-made ones of the events go through the same outbox, each in one piece.
//
// Browsers are given a module and a page (pages.go; package console), which know of
// all this only what every client does.
//
// Operators ask for what all instances hold and do (admin.go); the one that is asked
// asks the others (package instances).
//
// # Goroutines
//
// [Server.Run] owns the HTTP servers and the heartbeat, and waits for all of
// them and for every connection. A connection owns its reader and, for as long
// as each has something to do, a writer, a replay and a goodbye; it has ended
// when all of them have. An idle connection is one goroutine, with no timer, unless
// its protocol limits how long it may be idle.
package httpapi
