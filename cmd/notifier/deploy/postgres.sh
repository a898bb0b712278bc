#!/bin/sh
# Runs once, when the database of compose.yaml is made: the roles, each with no more than it needs. Neither instances nor
# migrations have a superuser's rights.
set -eu
psql -v ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" <<'SQL'
-- psql has \getenv only from version 15 on.
\set migrate `printf %s "$NOTIFIER_MIGRATE_PASSWORD"`
\set serve `printf %s "$NOTIFIER_DB_PASSWORD"`
-- Who brings the schema up owns the database, and can make no roles: so those that migrations would make are made here.
CREATE ROLE notifier_publisher NOLOGIN;
CREATE ROLE notifier_server NOLOGIN;
CREATE ROLE notifier_owner LOGIN PASSWORD :'migrate';
CREATE ROLE notifier LOGIN PASSWORD :'serve' IN ROLE notifier_server;
SELECT format('ALTER DATABASE %I OWNER TO notifier_owner', current_database()) \gexec
-- What notifier doctor says of other sessions.
GRANT pg_read_all_stats TO notifier;
SQL
