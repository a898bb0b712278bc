-- An example application, as it was before anybody thought of notifier: projects have members and datasets, datasets
-- have issues and files.

-- name: demo_schema
CREATE SCHEMA IF NOT EXISTS demo;

CREATE TABLE IF NOT EXISTS demo.projects (
  id   text PRIMARY KEY,
  name text NOT NULL
);

CREATE TABLE IF NOT EXISTS demo.members (
  project_id text NOT NULL REFERENCES demo.projects ON DELETE CASCADE,
  user_id    text NOT NULL,
  PRIMARY KEY (project_id, user_id)
);

CREATE TABLE IF NOT EXISTS demo.datasets (
  id         text PRIMARY KEY,
  project_id text NOT NULL REFERENCES demo.projects ON DELETE CASCADE,
  name       text NOT NULL,
  status     text NOT NULL DEFAULT 'draft' CHECK (status IN ('draft', 'ready')),
  records    bigint NOT NULL DEFAULT 0
);

CREATE TABLE IF NOT EXISTS demo.issues (
  id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  dataset_id text NOT NULL REFERENCES demo.datasets ON DELETE CASCADE,
  title      text NOT NULL,
  status     text NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'doing', 'closed')),
  reporter   text NOT NULL DEFAULT current_user,
  assignee   text,
  comments   integer NOT NULL DEFAULT 0
);

CREATE TABLE IF NOT EXISTS demo.uploads (
  id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  dataset_id text NOT NULL REFERENCES demo.datasets ON DELETE CASCADE,
  file       text NOT NULL,
  uploader   text NOT NULL DEFAULT current_user,
  bytes      bigint NOT NULL,
  received   bigint NOT NULL DEFAULT 0 CHECK (received <= bytes)
);

-- What a former notifier had for an example.
DROP TABLE IF EXISTS demo.notes;
DROP FUNCTION IF EXISTS demo.tell_owner();
