// Package migrations carries notifier's schema and brings a database up to it.
//
// The schema is a row of numbered SQL files, embedded in the binary and applied by goose, each in a transaction of its
// own. Everything lives in the schema "notifier", goose's own table (notifier.goose_db_version) too, so that
// taking the last file back leaves nothing behind. All instances may migrate at once: one does the work, under a
// session lock, and the others wait for it. That needs a direct connection, not one through a transaction pooler.
//
// The migrating role owns what it creates and needs no more than CREATE on the database, and CREATEROLE where the
// two roles notifier_publisher and notifier_server are not there yet. The server itself works as a member of
// notifier_server and cannot change the schema.
package migrations
