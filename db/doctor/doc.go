// Package doctor examines a database that notifier works with, or is to work with,
// and says what is wrong and what to do about it.
//
// It may be used on a database in production: it reads catalogs and statistics, in
// transactions that can't write and that give up after some seconds; it asks the
// policy functions a question as a server would; and it sends one notification, on
// a channel that nobody else hears.
//
// What the schema should look like is in schema.txt, which a test compares with a
// fresh one and can write anew.
package doctor
