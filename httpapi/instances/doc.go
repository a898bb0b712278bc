// Package instances is what instances tell operators about themselves, and each
// other: whoever is asked asks all others, over their admin addresses, and says who
// did not answer.
//
// The addresses come from a table that only the servers can write. Even so, what
// answers there need not be one of us: an answer is bounded, in time and in size,
// must be that of the instance that was asked, and no redirect is followed.
package instances
