-- Every statement the store runs, by name. Loaded by queries.py. The schema is in migrations/.

-- --- transactions ---

-- name: begin
-- Take the write lock at once: a transaction that begins by reading can't always go on to write.
BEGIN IMMEDIATE;

-- name: commit
COMMIT;

-- name: roll_back
ROLLBACK;

-- name: begin_reading
BEGIN;

-- --- connections ---

-- name: read_application_id
PRAGMA application_id;

-- name: list_files
PRAGMA database_list;

-- name: read_version
PRAGMA user_version;

-- name: count_tables
SELECT count(*) FROM sqlite_schema;

-- name: read_schema
-- What there is; of tables not the text, in which a column that was added stands otherwise than in a new file.
SELECT name, CASE type WHEN 'table' THEN type ELSE type || ' ' || tbl_name || ' ' || coalesce(sql, '') END
FROM sqlite_schema
WHERE name NOT LIKE 'sqlite_stat%';

-- name: read_columns
SELECT name, type, "notnull", dflt_value, pk, hidden FROM pragma_table_xinfo(?) ORDER BY name;

-- name: set_page_size
-- Only before anything is in the file. A commit writes whole pages, twice: pages of 16384 bytes cost 25 µs a commit more;
-- of 4096, rows of 1 to 2 KB waste up to half.
PRAGMA page_size = 8192;

-- name: use_wal
PRAGMA journal_mode = WAL;

-- name: survive_power_loss
PRAGMA synchronous = FULL;

-- name: survive_process_death
PRAGMA synchronous = NORMAL;

-- name: limit_wal
-- What a long transaction of a reader has let the -wal file grow to is given back, down to 64 MB.
PRAGMA journal_size_limit = 67108864;

-- name: distrust_schema
-- A file may come from anywhere: views and triggers in it call no function that does more than compute.
PRAGMA trusted_schema = OFF;

-- name: fire_triggers_of_replace
-- Else REPLACE deletes rows unseen by the triggers that keep the log append-only.
PRAGMA recursive_triggers = ON;

-- name: never_wait
-- SQLite's own waiting starves one of many processes; see patience.py.
PRAGMA busy_timeout = 0;

-- name: only_read
PRAGMA query_only = ON;

-- name: leave_checkpoints_to_writer
PRAGMA wal_autocheckpoint = 0;

-- --- commits ---

-- name: insert_run
-- Create a run; nothing happens if the id is taken.
INSERT INTO run (run_id, graph, fingerprint, status, known_seq, epoch, owner, lease_until, created_at, inputs_digest,
                 state_digest, error, due_at, tags, origin)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (run_id) DO NOTHING;

-- name: positions
-- The fences of several runs, each by the place of its id in a JSON array; with what a commit would change in the run's row, and
-- whether something is in its inbox. They are read inside the transaction, under the write lock.
SELECT mine.key, run.number, run.epoch, run.status, run.error, run.due_at, run.fingerprint,
       coalesce(last.first + last.count - 1, 0), EXISTS (SELECT 1 FROM inbox WHERE run = run.number)
FROM json_each(?) AS mine
CROSS JOIN run ON run.run_id = mine.value
LEFT JOIN log AS last ON last.id = (SELECT id FROM log WHERE run = run.number ORDER BY first DESC LIMIT 1);

-- name: change_run
UPDATE run SET status = ?, error = ?, due_at = ?, fingerprint = ?, known_seq = ? WHERE number = ?;

-- name: release_run
-- After change_run, in the same transaction.
UPDATE run SET owner = NULL, lease_until = 0, known_seq = ? WHERE number = ?;

-- name: insert_row
INSERT INTO log (run, first, count, epoch, ts, events, hash) VALUES (?, ?, ?, ?, ?, ?, ?);

-- name: insert_blob
INSERT INTO blob (run, digest, data) VALUES (?, ?, ?) ON CONFLICT DO NOTHING;

-- name: row_hash
-- Tells whether a commit whose outcome is unknown has happened.
SELECT hash FROM log WHERE run = (SELECT number FROM run WHERE run_id = ?) AND first = ?;

-- --- reading ---

-- name: read_rows
-- The row that holds the event after ?2, and those behind it.
SELECT first, count, epoch, ts, CAST(events AS BLOB), hash
FROM log
WHERE run = (SELECT number FROM run WHERE run_id = ?1)
  AND first >= coalesce(
      (SELECT max(first) FROM log WHERE run = (SELECT number FROM run WHERE run_id = ?1) AND first <= ?2 + 1), 1)
  AND first + count > ?2 + 1
ORDER BY first
LIMIT ?3;

-- name: first_rows
-- A whole log that is short.
SELECT first, count, epoch, ts, CAST(events AS BLOB), hash
FROM log
WHERE run = (SELECT number FROM run WHERE run_id = ?)
ORDER BY first;

-- name: read_blob
SELECT data FROM blob WHERE run = (SELECT number FROM run WHERE run_id = ?) AND digest = ?;

-- name: get_run
SELECT run_id, graph, fingerprint, status, last_seq, head, epoch, owner, lease_until, created_at, updated_at,
       inputs_digest, state_digest, error, due_at, tags
FROM runs
WHERE run_id = ?;

-- name: list_runs
-- The newest first, and no further than a page: only those created at the same time are sorted.
SELECT run_id, graph, fingerprint, status, last_seq, head, epoch, owner, lease_until, created_at, updated_at,
       inputs_digest, state_digest, error, due_at, tags
FROM runs
WHERE (?1 IS NULL OR status IN (SELECT value FROM json_each(?1)))
  AND (?2 IS NULL OR graph = ?2)
  AND created_at < ?3
  AND created_at >= ?4
  AND created_at <= ?5
  AND (created_at < ?5 OR run_id < ?6)
ORDER BY created_at DESC, run_id DESC
LIMIT ?7;

-- name: list_tagged_runs
-- The same of those that have tags: found by one of these.
SELECT run_id, graph, fingerprint, status, last_seq, head, epoch, owner, lease_until, runs.created_at, updated_at,
       inputs_digest, state_digest, error, due_at, tags
FROM tag
CROSS JOIN runs ON runs.number = tag.run
WHERE tag.name = ?8
  AND tag.value = ?9
  AND NOT EXISTS (SELECT key, value FROM json_each(?10) EXCEPT SELECT key, value FROM json_each(runs.tags))
  AND (?1 IS NULL OR status IN (SELECT value FROM json_each(?1)))
  AND (?2 IS NULL OR graph = ?2)
  AND tag.created_at < ?3
  AND tag.created_at >= ?4
  AND tag.created_at <= ?5
  AND (tag.created_at < ?5 OR run_id < ?6)
ORDER BY tag.created_at DESC, run_id DESC
LIMIT ?7;

-- name: run_ids
-- Those that begin with a text: first the text itself, then the newest ones.
SELECT run_id
FROM run
WHERE run_id >= ?1 AND run_id < ?1 || char(0x10FFFF)
ORDER BY run_id <> ?1, created_at DESC, number DESC
LIMIT ?2;

-- name: graph_names
-- Those of the plans, which are few: no run is looked at.
SELECT DISTINCT name FROM plan WHERE name >= ?1 AND name < ?1 || char(0x10FFFF) ORDER BY name LIMIT ?2;

-- name: delete_run
-- Triggers take along all that belongs to it.
DELETE FROM run
WHERE run_id = ?1 AND status IN ('COMPLETED', 'FAILED', 'CANCELLED') AND NOT EXISTS (SELECT 1 FROM run WHERE origin = ?1)
RETURNING run_id;

-- name: origins
SELECT run_id, origin FROM run WHERE origin <> '';

-- name: sizes
SELECT run_id, graph, status,
       (SELECT coalesce(sum(length(CAST(events AS BLOB))), 0) FROM log WHERE log.run = run.number) AS in_log,
       (SELECT coalesce(sum(length(data)), 0) FROM blob WHERE blob.run = run.number)              AS in_blobs,
       (SELECT coalesce(sum(length(data)), 0) FROM snapshot WHERE snapshot.run = run.number)      AS in_snapshot
FROM run
ORDER BY in_log + in_blobs + in_snapshot DESC, run_id;

-- --- the file ---

-- name: back_up
-- A copy as of one moment, without free pages.
VACUUM INTO ?;

-- name: page_bytes
PRAGMA page_size;

-- name: count_pages
PRAGMA page_count;

-- name: count_free_pages
PRAGMA freelist_count;

-- name: quick_check
PRAGMA quick_check(1);

-- --- leases ---

-- name: claimable
-- Runs that nobody drives and that are due, those that have been so for longest first. Of each graph as many as are wanted in
-- all, so that runs of other graphs, and those that aren't wanted, aren't looked at. Runs that are left to workers with their
-- version of the graph are passed over.
SELECT run_id, graph, fingerprint, status, last_seq, head, epoch, owner, lease_until, created_at, updated_at,
       inputs_digest, state_digest, error, due_at, tags
FROM (SELECT DISTINCT value FROM json_each(?2)) AS mine
JOIN runs ON runs.number IN (
    SELECT number
    FROM run
    WHERE graph = mine.value AND ready_at <= ?1 AND fingerprint NOT IN (SELECT value FROM json_each(?4))
    ORDER BY ready_at, number
    LIMIT ?3
)
ORDER BY ready_at, number
LIMIT ?3;

-- name: claimable_run
-- The same for one run, of whatever graph; ?3 says that its status doesn't matter, nor when it is due.
SELECT run_id, graph, fingerprint, status, last_seq, head, epoch, owner, lease_until, created_at, updated_at,
       inputs_digest, state_digest, error, due_at, tags
FROM runs
WHERE run_id = ?2 AND (ready_at <= ?1 OR (?3 AND lease_until <= ?1));

-- name: next_due
SELECT min(ready_at)
FROM (
    SELECT (
        SELECT ready_at
        FROM run
        WHERE graph = mine.value AND ready_at IS NOT NULL AND fingerprint NOT IN (SELECT value FROM json_each(?2))
        ORDER BY ready_at
        LIMIT 1
    ) AS ready_at
    FROM json_each(?1) AS mine
);

-- name: take_lease
UPDATE run SET owner = ?, lease_until = ?, epoch = ?, known_seq = ? WHERE run_id = ?;

-- name: read_epoch
SELECT epoch FROM run WHERE run_id = ?;

-- name: orphans
-- The statuses are said as the index says them, so that it is used.
SELECT run_id, graph, fingerprint, status, last_seq, head, epoch, owner, lease_until, created_at, updated_at,
       inputs_digest, state_digest, error, due_at, tags
FROM runs
WHERE owner IS NOT NULL
  AND (status = 'PENDING' OR status = 'RUNNING' OR status = 'WAITING')
  AND lease_until > ?1
  AND owner <> ?2
ORDER BY lease_until, number;

-- name: extend_lease
UPDATE run SET lease_until = ? WHERE run_id = ? AND epoch = ? AND owner IS NOT NULL;

-- name: release_lease
UPDATE run SET owner = NULL, lease_until = 0 WHERE run_id = ? AND epoch = ?;

-- name: park_run
UPDATE run SET status = ?, error = ?, owner = NULL, lease_until = 0 WHERE run_id = ? AND epoch = ?;

-- name: announce_worker
INSERT INTO worker (id, owner, fingerprints, until) VALUES (?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET owner = excluded.owner, fingerprints = excluded.fingerprints, until = excluded.until;

-- name: forget_workers
DELETE FROM worker WHERE until <= ?;

-- name: forget_worker
DELETE FROM worker WHERE id = ?;

-- name: read_workers
SELECT owner, fingerprints, until FROM worker WHERE until > ? ORDER BY id;

-- name: park_unreadable
-- Its id may be no text.
UPDATE run SET status = 'STALLED', error = ?, owner = NULL, lease_until = 0
WHERE CAST(run_id AS BLOB) = ? AND status <> 'STALLED';

-- name: pass_epoch
UPDATE counter SET value = max(value, ?) WHERE name = 'epoch';

-- name: reserve_epochs
UPDATE counter SET value = value + ? WHERE name = 'epoch' RETURNING value;

-- --- waits ---

-- name: open_wait
INSERT INTO wait (run, task, node, kind, name, title, assignee, schema, opened_at, due_at, path)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (run, task) DO UPDATE
SET node = excluded.node, kind = excluded.kind, name = excluded.name, title = excluded.title,
    assignee = excluded.assignee, schema = excluded.schema, opened_at = excluded.opened_at, due_at = excluded.due_at,
    path = excluded.path;

-- name: close_wait
DELETE FROM wait WHERE run = ? AND task = ?;

-- name: read_waits
-- The oldest first, and no further than a page: only those opened at the same time are sorted.
SELECT run.run_id, wait.task, wait.node, wait.kind, wait.name, wait.title, wait.assignee, CAST(wait.schema AS BLOB),
       wait.opened_at, wait.due_at, wait.path
FROM wait
JOIN run ON run.number = wait.run
WHERE (?1 IS NULL OR wait.assignee = ?1)
  AND (?2 IS NULL OR wait.kind = ?2)
  AND wait.opened_at >= ?3
  AND (wait.opened_at, run.run_id, wait.task) > (?3, ?4, ?5)
ORDER BY wait.opened_at, run.run_id, wait.task
LIMIT ?6;

-- name: read_waits_of_run
-- The same for one run; in a damaged file an index may lead to another one.
SELECT run.run_id, wait.task, wait.node, wait.kind, wait.name, wait.title, wait.assignee, CAST(wait.schema AS BLOB),
       wait.opened_at, wait.due_at, wait.path
FROM wait
JOIN run ON run.number = wait.run
WHERE wait.run = (SELECT number FROM run WHERE run_id = ?7)
  AND +run.run_id = ?7
  AND (?1 IS NULL OR wait.assignee = ?1)
  AND (?2 IS NULL OR wait.kind = ?2)
  AND (wait.opened_at, run.run_id, wait.task) > (?3, ?4, ?5)
ORDER BY wait.opened_at, run.run_id, wait.task
LIMIT ?6;

-- name: read_wait
-- The same for one task of a run.
SELECT run.run_id, wait.task, wait.node, wait.kind, wait.name, wait.title, wait.assignee, CAST(wait.schema AS BLOB),
       wait.opened_at, wait.due_at, wait.path
FROM wait
JOIN run ON run.number = wait.run
WHERE wait.run = (SELECT number FROM run WHERE run_id = ?7)
  AND +run.run_id = ?7
  AND wait.task = ?8
  AND (?1 IS NULL OR wait.assignee = ?1)
  AND (?2 IS NULL OR wait.kind = ?2)
  AND (wait.opened_at, run.run_id, wait.task) > (?3, ?4, ?5)
ORDER BY wait.opened_at, run.run_id, wait.task
LIMIT ?6;

-- --- the inbox ---

-- name: addressee
SELECT number, status FROM run WHERE run_id = ?;

-- name: unused_answer
SELECT number, kind, key, CAST(value AS BLOB), by, at, digest FROM inbox WHERE run = ? AND key = ? AND kind = 'answer';

-- name: awaits_answer
SELECT 1 FROM wait WHERE run = ? AND task = ? AND kind = 'human';

-- name: used_answer
SELECT digest FROM answered WHERE run = ? AND task = ?;

-- name: insert_entry
INSERT INTO inbox (run, kind, key, value, by, at, digest) VALUES (?, ?, ?, ?, ?, ?, ?);

-- name: wake_run
-- Make it due, if it isn't before.
UPDATE run SET due_at = ?1 WHERE number = ?2 AND CASE WHEN due_at IS NULL THEN status = 'WAITING' ELSE due_at > ?1 END;

-- name: take_entry
DELETE FROM inbox WHERE number = ? AND run = ? RETURNING kind, key, digest;

-- name: is_mail_left
SELECT EXISTS (SELECT 1 FROM inbox WHERE run = ?);

-- name: count_signals
SELECT count(*) FROM inbox WHERE run = ? AND kind = 'signal';

-- name: remember_answer
INSERT INTO answered (run, task, digest) VALUES (?, ?, ?)
ON CONFLICT (run, task) DO UPDATE SET digest = excluded.digest;

-- name: used_answers
SELECT task, digest FROM answered WHERE run = (SELECT number FROM run WHERE run_id = ?) ORDER BY task;

-- name: forget_answer
DELETE FROM answered WHERE run = ? AND task = ?;

-- name: read_inbox
SELECT number, kind, key, CAST(value AS BLOB), by, at
FROM inbox
WHERE run = (SELECT number FROM run WHERE run_id = ?) AND number > ?
ORDER BY number;

-- name: whole_inbox
SELECT number, kind, key, CAST(value AS BLOB), by, at
FROM inbox
WHERE run = (SELECT number FROM run WHERE run_id = ?)
ORDER BY number;

-- name: read_entry
-- Tells whether an entry whose outcome is unknown was put in.
SELECT number, kind, key, CAST(value AS BLOB), by, at
FROM inbox
WHERE run = (SELECT number FROM run WHERE run_id = ?) AND number = ?;

-- name: mail
-- From the inboxes, which are empty most of the time, to the owners.
SELECT run.run_id, max(inbox.number)
FROM inbox
CROSS JOIN run ON run.number = inbox.run
WHERE CASE WHEN json_valid(run.owner) THEN json_extract(run.owner, '$.id') END = ?
GROUP BY inbox.run;

-- name: data_version
-- Changes when another connection has committed.
PRAGMA data_version;

-- --- plans and snapshots ---

-- name: insert_plan
INSERT INTO plan (fingerprint, name, plan) VALUES (?, ?, ?) ON CONFLICT DO NOTHING;

-- name: read_plan
SELECT CAST(plan AS BLOB) FROM plan WHERE fingerprint = ?;

-- name: replace_snapshot
-- Nothing happens if there is no such run.
INSERT INTO snapshot (run, format, fingerprint, seq, head, data, hash)
SELECT number, ?2, ?3, ?4, ?5, ?6, ?7 FROM run WHERE run_id = ?1
ON CONFLICT (run) DO UPDATE
SET format = excluded.format, fingerprint = excluded.fingerprint, seq = excluded.seq, head = excluded.head,
    data = excluded.data, hash = excluded.hash;

-- name: read_snapshot
SELECT format, fingerprint, seq, head, data, hash
FROM snapshot
WHERE run = (SELECT number FROM run WHERE run_id = ?);

-- name: delete_snapshot
DELETE FROM snapshot WHERE run = (SELECT number FROM run WHERE run_id = ?);
