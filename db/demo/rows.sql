-- Something to look at.

-- name: demo_rows
INSERT INTO demo.projects (id, name) VALUES ('north', 'Northern coast'), ('south', 'Southern coast');
INSERT INTO demo.members (project_id, user_id) VALUES ('north', 'ann'), ('south', 'ben');
INSERT INTO demo.datasets (id, project_id, name, status) VALUES
  ('tides', 'north', 'Tide gauges', 'ready'),
  ('winds', 'north', 'Wind speeds', 'draft'),
  ('waves', 'south', 'Wave heights', 'ready');
INSERT INTO demo.issues (dataset_id, title, assignee) VALUES
  ('tides', 'Gauge 7 is silent since Tuesday', 'ann'),
  ('winds', 'Gusts above 60 m/s', NULL),
  ('waves', 'Buoy 12 counts each wave twice', 'ben');
INSERT INTO demo.uploads (dataset_id, file, bytes, received) VALUES ('tides', '2026-10.csv', 40000, 40000);
