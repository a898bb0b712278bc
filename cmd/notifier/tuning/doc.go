// Package tuning is those settings of a server that do not say where it is and whom it
// lets in: how it reads the log, its limits and times, and what its protocols do. They
// are the flags and variables of the commands, and what tests of applications set in a
// server that runs in their process: one table, so that both understand the same.
package tuning
