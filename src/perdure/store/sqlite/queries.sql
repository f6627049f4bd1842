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

-- name: read_version
PRAGMA user_version;

-- name: count_tables
SELECT count(*) FROM sqlite_schema;

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
                 state_digest, error, due_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (run_id) DO NOTHING;

-- name: position
-- The fence, and what a commit would change in the run's row. It is read inside the transaction, under the write lock.
SELECT run.number, run.epoch, run.status, run.error, run.due_at, run.fingerprint,
       coalesce(last.first + last.count - 1, 0)
FROM run
LEFT JOIN log AS last ON last.id = (SELECT id FROM log WHERE run = run.number ORDER BY first DESC LIMIT 1)
WHERE run.run_id = ?;

-- name: change_run
UPDATE run SET status = ?, error = ?, due_at = ?, fingerprint = ?, known_seq = ? WHERE number = ?;

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

-- name: read_blob
SELECT data FROM blob WHERE run = (SELECT number FROM run WHERE run_id = ?) AND digest = ?;

-- name: get_run
SELECT run_id, graph, fingerprint, status, last_seq, head, epoch, owner, lease_until, created_at, updated_at,
       inputs_digest, state_digest, error, due_at
FROM runs
WHERE run_id = ?;

-- name: list_runs
SELECT run_id, graph, fingerprint, status, last_seq, head, epoch, owner, lease_until, created_at, updated_at,
       inputs_digest, state_digest, error, due_at
FROM runs
WHERE (?1 IS NULL OR status IN (SELECT value FROM json_each(?1)))
  AND (?2 IS NULL OR graph = ?2)
  AND (?3 IS NULL OR created_at < ?3)
ORDER BY created_at DESC, number DESC
LIMIT ?4;

-- --- leases ---

-- name: claimable
-- Runs that nobody drives and that are due, those that have been so for longest first.
SELECT run_id, graph, fingerprint, status, last_seq, head, epoch, owner, lease_until, created_at, updated_at,
       inputs_digest, state_digest, error, due_at
FROM runs
WHERE status IN ('PENDING', 'RUNNING', 'WAITING')
  AND max(lease_until, coalesce(due_at, 0)) <= ?1
  AND graph IN (SELECT value FROM json_each(?2))
ORDER BY max(lease_until, coalesce(due_at, 0)), number
LIMIT ?3;

-- name: claimable_run
-- The same for one run, of whatever graph.
SELECT run_id, graph, fingerprint, status, last_seq, head, epoch, owner, lease_until, created_at, updated_at,
       inputs_digest, state_digest, error, due_at
FROM runs
WHERE run_id = ?2
  AND status IN ('PENDING', 'RUNNING', 'WAITING')
  AND max(lease_until, coalesce(due_at, 0)) <= ?1;

-- name: take_lease
UPDATE run SET owner = ?, lease_until = ?, epoch = ?, known_seq = ? WHERE run_id = ?;

-- name: read_epoch
SELECT epoch FROM run WHERE run_id = ?;

-- name: orphans
SELECT run_id, graph, fingerprint, status, last_seq, head, epoch, owner, lease_until, created_at, updated_at,
       inputs_digest, state_digest, error, due_at
FROM runs
WHERE owner IS NOT NULL AND status IN ('PENDING', 'RUNNING', 'WAITING') AND lease_until > ?
ORDER BY lease_until, number;

-- name: extend_lease
UPDATE run SET lease_until = ? WHERE run_id = ? AND epoch = ? AND owner IS NOT NULL;

-- name: release_lease
UPDATE run SET owner = NULL, lease_until = 0 WHERE run_id = ? AND epoch = ?;

-- name: park_run
UPDATE run SET status = ?, error = ?, owner = NULL, lease_until = 0 WHERE run_id = ? AND epoch = ?;

-- name: reserve_epochs
UPDATE counter SET value = value + ? WHERE name = 'epoch' RETURNING value;

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
