-- Until when a user who logged in has a token, so that what rests on an older one goes on, on whatever instance.

-- +goose Up

-- One row a user, with the last end of all tokens that were given out. They count while the user's generation is the
-- same, as the tokens do. No foreign key to users: that table may be truncated, and a row of nobody does nothing.
CREATE TABLE notifier.sessions (
    user_id    text PRIMARY KEY,
    generation bigint NOT NULL,
    expires_at timestamptz NOT NULL
);
COMMENT ON TABLE notifier.sessions IS 'Until when the tokens count that users got by logging in. Written by the servers.';

REVOKE ALL ON notifier.sessions FROM PUBLIC;
GRANT SELECT, INSERT, UPDATE, DELETE ON notifier.sessions TO notifier_server;

-- +goose Down

DROP TABLE notifier.sessions;
