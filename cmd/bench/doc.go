// Command bench measures what notifier costs and prints it as tables:
//
//	(a) commits: what the doorbell costs the writers
//	(b) latency: from a commit to a client
//	(c) fanout: CPU per delivery, and deliveries a second
//	(d) memory: per idle subscriber
//	(e) access: an event whose subscribers are all somebody else, and a revocation
//	(f) logins: while others guess
//	(g) reconnects: clients that come back behind
//	(h) slow client: beside others that get everything
//	(i) watching: what watch_table costs the statements of an application
//	(j) scale: what reading, replay and retention cost beside many stored events
//
// A figure means little by itself, so each has its rival in the same run, the
// rounds interleaved: other ways to write in (a), other triggers in (i), a twentieth
// of the log in (j), in (c) and (d) the limit, a program that does nothing but write ready-made frames to the same sockets
// (limit.go; bench runs itself for it). What is printed are medians, with the
// least and the largest in brackets. Each section counts what arrived: a run
// that lost or repeated something fails, as does one that measured nothing.
//
// The cluster is a private one with durable commits, on a disk. The server is
// cmd/notifier, built and run as a process of its own. The subscribers live
// here, and share the machine with both, so they are cheap: one thread, epoll,
// no allocation (swarm.go). All load goes to 127.0.0.1.
//
// It needs Linux: epoll, /proc, and the CPU clocks of other processes. Its SQL
// is its own (sql.go), the one exception to the rule that SQL lives in db and
// migrations: it writes as an application would.
package main
