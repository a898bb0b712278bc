-- Which servers run, so that any of them can ask all.

-- +goose Up

-- The servers ask each other at these addresses, so nobody else may write them. A row is gone when its server stops; one
-- whose server ended otherwise stays for some minutes, so that it can be seen that it is missing.
CREATE TABLE notifier.instances (
    id         uuid PRIMARY KEY,
    name       text NOT NULL,
    version    text NOT NULL,
    started_at timestamptz NOT NULL,
    seen_at    timestamptz NOT NULL DEFAULT pg_catalog.now(),
    admin_url  text,
    position   pg_snapshot,
    feed       text NOT NULL
) WITH (fillfactor = 50); -- written every few seconds, in place
COMMENT ON TABLE notifier.instances IS 'The running servers. Each writes its row every few seconds.';
COMMENT ON COLUMN notifier.instances.admin_url IS 'where the others can ask it; null: nowhere';
COMMENT ON COLUMN notifier.instances.position IS 'how far it has delivered the log; null: it does not follow it yet';
COMMENT ON COLUMN notifier.instances.feed IS 'how it follows the log: listening, polling, or broken';

REVOKE ALL ON notifier.instances FROM PUBLIC;
GRANT SELECT, INSERT, UPDATE, DELETE ON notifier.instances TO notifier_server;

-- +goose Down

DROP TABLE notifier.instances;
