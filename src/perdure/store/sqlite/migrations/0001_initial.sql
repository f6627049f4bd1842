-- The first schema.
--
-- Times are microseconds since 1970. All tables are rowid tables: rows of 1 KB cost 1.2 KB so, and 4.8 KB WITHOUT ROWID.

PRAGMA application_id = 1885696612;                -- "perd"
PRAGMA user_version = 1;

CREATE TABLE run (
    number        INTEGER PRIMARY KEY,             -- the run's number in this file
    run_id        TEXT NOT NULL UNIQUE,
    graph         TEXT NOT NULL,
    fingerprint   TEXT NOT NULL,
    status        TEXT NOT NULL,
    known_seq     INTEGER NOT NULL,                -- the log reached this when this row was last written, or more
    epoch         INTEGER NOT NULL,                -- the fencing number of the present lease
    owner         TEXT,                            -- who holds it, as JSON; NULL if nobody does
    lease_until   INTEGER NOT NULL,
    created_at    INTEGER NOT NULL,
    inputs_digest TEXT NOT NULL,
    state_digest  TEXT NOT NULL,
    error         TEXT NOT NULL DEFAULT '',
    due_at        INTEGER,                         -- when the run wants to be driven again
    tags          TEXT NOT NULL DEFAULT '{}',      -- what it was given at its start to be found by, as a JSON object of texts
    -- When it can be claimed; NULL is never. Without due_at that is at once, but for a waiting run: when something comes in.
    ready_at      INTEGER AS (CASE
                                  WHEN status IN ('PENDING', 'RUNNING') THEN max(lease_until, coalesce(due_at, 0))
                                  WHEN status = 'WAITING' THEN max(lease_until, due_at)
                              END) VIRTUAL
) STRICT;

CREATE INDEX run_by_creation ON run (created_at);

-- What a worker that looks for work reads: of each of its graphs, in the order in which runs become free and due, and no
-- further than the present. Runs that wait for something to come in aren't in it.
CREATE INDEX run_to_drive ON run (graph, ready_at) WHERE ready_at IS NOT NULL;

CREATE INDEX run_under_lease ON run (lease_until)
WHERE owner IS NOT NULL AND status IN ('PENDING', 'RUNNING', 'WAITING');

-- One row for each commit of a run, in the order of the commits of all runs. So a commit is written at the end of the
-- table, whichever run it belongs to: pages are full, and a commit of many runs touches few of them. (Kept together by run,
-- 1,000 live runs wrote four times as many bytes.)
CREATE TABLE log (
    id     INTEGER PRIMARY KEY,
    run    INTEGER NOT NULL,                       -- the number of the run
    first  INTEGER NOT NULL,                       -- the seq of the first event
    count  INTEGER NOT NULL,                       -- how many events
    epoch  INTEGER NOT NULL,                       -- under which lease they were committed
    ts     INTEGER NOT NULL,                       -- when
    events TEXT NOT NULL,                          -- a JSON array of events
    hash   BLOB NOT NULL                           -- over the row and the hash of the row before
) STRICT;

CREATE UNIQUE INDEX log_by_run ON log (run, first);

-- A log only grows. (REPLACE deletes rows, which the second trigger sees on connections with recursive_triggers, as the
-- store's are. To see it on all, a trigger on INSERT could look for the row: that cost 20 µs a commit.)
CREATE TRIGGER log_never_changes BEFORE UPDATE ON log
BEGIN
    SELECT RAISE(ABORT, 'the log is append-only');
END;

CREATE TRIGGER log_never_shrinks BEFORE DELETE ON log
WHEN EXISTS (SELECT 1 FROM run WHERE number = OLD.run)
BEGIN
    SELECT RAISE(ABORT, 'the log is append-only: delete the whole run, by its row in run');
END;

-- A run goes as a whole.
CREATE TRIGGER run_takes_its_log_along AFTER DELETE ON run
BEGIN
    DELETE FROM log WHERE run = OLD.number;
    DELETE FROM blob WHERE run = OLD.number;
    DELETE FROM snapshot WHERE run = OLD.number;
    DELETE FROM wait WHERE run = OLD.number;
    DELETE FROM inbox WHERE run = OLD.number;
    DELETE FROM answered WHERE run = OLD.number;
END;

CREATE TABLE blob (
    run    INTEGER NOT NULL,                       -- the number of the run
    digest TEXT NOT NULL,                          -- blake2b of the data, 16 bytes in hex
    data   BLOB NOT NULL,
    PRIMARY KEY (run, digest)
) STRICT;

CREATE TABLE snapshot (
    run         INTEGER PRIMARY KEY,               -- the number of the run
    format      INTEGER NOT NULL,
    fingerprint TEXT NOT NULL,
    seq         INTEGER NOT NULL,
    head        BLOB NOT NULL,
    data        BLOB NOT NULL,
    hash        BLOB NOT NULL
) STRICT;

-- What runs wait for, while they do: so that it can be listed and answered without reading their logs.
CREATE TABLE wait (
    run       INTEGER NOT NULL,                    -- the number of the run
    task      TEXT NOT NULL,
    node      TEXT NOT NULL,
    kind      TEXT NOT NULL,                       -- human, signal or sleep
    name      TEXT NOT NULL,                       -- of the signal
    title     TEXT NOT NULL,
    assignee  TEXT NOT NULL,
    schema    TEXT NOT NULL,                       -- the JSON schema of the answer, or null
    opened_at INTEGER NOT NULL,
    due_at    INTEGER,                             -- when it ends by itself
    path      TEXT NOT NULL,
    PRIMARY KEY (run, task)
) STRICT;

CREATE INDEX wait_by_age ON wait (opened_at);

-- What came in from outside, until whoever drives the run has written it into the log. No number is ever used again.
CREATE TABLE inbox (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    run    INTEGER NOT NULL,                       -- the number of the run
    kind   TEXT NOT NULL,                          -- answer, signal, …
    key    TEXT NOT NULL,                          -- the task that is answered, or the name of the signal
    value  TEXT NOT NULL,                          -- JSON
    by     TEXT NOT NULL,
    at     INTEGER NOT NULL,
    digest BLOB                                    -- of an answer and who gave it
) STRICT;

CREATE INDEX inbox_by_run ON inbox (run);

CREATE UNIQUE INDEX inbox_holds_one_answer ON inbox (run, key) WHERE kind = 'answer';

-- The answers that were used, so that one which is given again can be told from another one.
CREATE TABLE answered (
    run    INTEGER NOT NULL,                       -- the number of the run
    task   TEXT NOT NULL,
    digest BLOB NOT NULL,
    PRIMARY KEY (run, task)
) STRICT;

-- A run that is over waits for nothing. One that failed may be retried: what it is to be told then stays.
CREATE TRIGGER run_that_is_over_waits_for_nothing AFTER UPDATE OF status ON run
WHEN NEW.status IN ('COMPLETED', 'FAILED', 'CANCELLED')
BEGIN
    DELETE FROM wait WHERE run = NEW.number;
    DELETE FROM inbox WHERE run = NEW.number AND (NEW.status <> 'FAILED' OR kind NOT IN ('answer', 'signal'));
END;

CREATE TABLE plan (
    fingerprint TEXT PRIMARY KEY,
    name        TEXT NOT NULL,
    plan        TEXT NOT NULL                      -- the structure of a graph, as JSON
) STRICT;

CREATE TABLE counter (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT;

INSERT INTO counter (name, value) VALUES ('epoch', 0);

-- A run, and where its log stands. A commit that changes nothing about its run leaves the row in run alone, so that is read
-- from the log's last row. If that is less than what was known once, the end of the log is lost; the greater one is shown,
-- and whoever reads the log misses the rest.
CREATE VIEW runs AS
SELECT run.number,
       run.run_id,
       run.graph,
       run.fingerprint,
       run.status,
       max(run.known_seq, coalesce(last.first + last.count - 1, 0)) AS last_seq,
       coalesce(last.hash, x'')                                     AS head,
       run.epoch,
       run.owner,
       run.lease_until,
       run.created_at,
       coalesce(last.ts, run.created_at)                            AS updated_at,
       run.inputs_digest,
       run.state_digest,
       run.error,
       run.due_at,
       run.ready_at,
       run.tags
FROM run
LEFT JOIN log AS last ON last.id = (SELECT id FROM log WHERE run = run.number ORDER BY first DESC LIMIT 1);

-- For people who look into the file: an event a row.
CREATE VIEW events AS
SELECT run.run_id                        AS run_id,
       log.first + event.key             AS seq,
       log.ts                            AS ts,
       log.epoch                         AS epoch,
       json_extract(event.value, '$[0]') AS kind,
       event.value                       AS event
FROM log
JOIN run ON run.number = log.run
JOIN json_each(log.events) AS event;

-- For people who look into the file: what is waited for.
CREATE VIEW waiting AS
SELECT run.run_id,
       wait.task,
       wait.node,
       wait.path,
       wait.kind,
       wait.name,
       wait.title,
       wait.assignee,
       wait.opened_at,
       wait.due_at
FROM wait
JOIN run ON run.number = wait.run;

-- For people who look into the file: an attempt of a task a row. What comes next in the log about the task is how it ended: if
-- that is another start, a process died. Ask for one run (or some), else all logs are read and sorted.
CREATE VIEW attempts AS
SELECT run_id,
       json_extract(event, '$[1]')              AS task,
       json_extract(event, '$[2]')              AS node,
       coalesce(json_extract(event, '$[3]'), 1) AS attempt,
       seq                                      AS started_seq,
       ts                                       AS started_at,
       ended_seq,
       ended_at,
       CASE ended
           WHEN 'NodeCompleted' THEN 'completed'
           WHEN 'NodeFailed' THEN 'failed'
           WHEN 'NodeInterrupted' THEN 'interrupted'
           WHEN 'NodeCancelled' THEN 'cancelled'
           WHEN 'WaitOpened' THEN 'waits'
           WHEN 'NodeStarted' THEN 'lost'
       END                                      AS outcome,
       CASE ended
           WHEN 'NodeFailed' THEN json_extract(ending, '$[2][0]') || ': ' || json_extract(ending, '$[2][1]')
       END                                      AS error
FROM (
    SELECT run_id,
           seq,
           ts,
           kind,
           event,
           lead(kind) OVER next  AS ended,
           lead(seq) OVER next   AS ended_seq,
           lead(ts) OVER next    AS ended_at,
           lead(event) OVER next AS ending
    FROM events
    WHERE kind IN ('NodeStarted', 'NodeCompleted', 'NodeFailed', 'NodeInterrupted', 'NodeCancelled', 'WaitOpened')
    WINDOW next AS (PARTITION BY run_id, json_extract(event, '$[1]') ORDER BY seq)
)
WHERE kind = 'NodeStarted';
