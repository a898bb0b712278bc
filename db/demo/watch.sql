-- What happens to the tables becomes events. The application goes on as ever.

-- name: demo_watch
SELECT
  notifier.watch_table('demo.issues', 'issueUpdate', dataset => 'dataset_id', original => true),

  -- Whom an issue is given to is told, and who has it no more.
  notifier.watch_table('demo.issues', 'notification', recipient => 'assignee', condition => 'assignee IS NOT NULL',
    payload => $$json_build_object('issue', id, 'title', title, 'status', status, 'comments', comments)$$),

  notifier.watch_table('demo.datasets', 'datasetUpdate', dataset => 'id', original => true),

  -- How far the files of a dataset have come; and each of them once it is complete, which makes it appear.
  notifier.watch_table('demo.uploads', 'uploadFile', key => 'dataset_id', dataset => 'dataset_id'),
  notifier.watch_table('demo.uploads', 'downloadFile', dataset => 'dataset_id', condition => 'received = bytes',
    columns => '{id,file,bytes}');
