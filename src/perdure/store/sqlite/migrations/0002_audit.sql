-- What an auditor asks: which run was forked from which, and views of tasks, batches, joins, waits and verbs. Runs are found
-- by their tags, and workers find each other.

PRAGMA user_version = 2;

-- The run this one was forked from; empty if there is none. Until now that stood in the log alone, and beside it those that a run
-- goes on from. These don't count: the beginnings of an endless chain can be deleted.
ALTER TABLE run ADD COLUMN origin TEXT NOT NULL DEFAULT '';

UPDATE run
SET origin = coalesce((SELECT json_extract(events, '$[0][13]') FROM log WHERE run = run.number AND first = 1), '');

UPDATE run
SET origin = ''
WHERE origin <> '' AND EXISTS (
    SELECT 1
    FROM run AS source
    JOIN log ON log.run = source.number
    WHERE source.run_id = run.origin AND log.events LIKE '%["RunContinued",%' AND instr(log.events, json_quote(run.run_id))
);

CREATE INDEX run_by_origin ON run (origin) WHERE origin <> '';

-- The tags of runs once more, so that runs are found by one, the newest first.
CREATE TABLE tag (
    name       TEXT NOT NULL,
    value      TEXT NOT NULL,
    created_at INTEGER NOT NULL,                   -- as in run
    run        INTEGER NOT NULL,                   -- the number of the run
    PRIMARY KEY (name, value, created_at, run)
) STRICT, WITHOUT ROWID;

INSERT INTO tag (name, value, created_at, run)
SELECT given.key, given.value, run.created_at, run.number FROM run, json_each(run.tags) AS given;

CREATE TRIGGER run_is_found_by_its_tags AFTER INSERT ON run WHEN NEW.tags <> '{}'
BEGIN
    INSERT INTO tag (name, value, created_at, run) SELECT key, value, NEW.created_at, NEW.number FROM json_each(NEW.tags);
END;

CREATE TRIGGER run_takes_its_tags_along AFTER DELETE ON run
BEGIN
    DELETE FROM tag
    WHERE (name, value, created_at, run) IN (SELECT key, value, OLD.created_at, OLD.number FROM json_each(OLD.tags));
END;

-- Who looks for runs to drive, so that each run is left to those who have its very graph.
CREATE TABLE worker (
    id           TEXT PRIMARY KEY,
    owner        TEXT NOT NULL,                    -- as in run, as JSON
    fingerprints TEXT NOT NULL,                    -- of the graphs it has, a JSON array
    until        INTEGER NOT NULL                  -- when it is to be taken for gone, if it isn't heard of again
) STRICT, WITHOUT ROWID;

-- With IN, and three values or more, SQLite builds a temporary table of them whenever a row of run is written, for each index and
-- trigger anew: a run created cost 20 µs rather than 16, one that ends 23 rather than 13.
DROP INDEX run_under_lease;

CREATE INDEX run_under_lease ON run (lease_until)
WHERE owner IS NOT NULL AND (status = 'PENDING' OR status = 'RUNNING' OR status = 'WAITING');

DROP TRIGGER run_that_is_over_waits_for_nothing;

-- A run that is over waits for nothing. One that failed may be retried: what it is to be told then stays.
CREATE TRIGGER run_that_is_over_waits_for_nothing AFTER UPDATE OF status ON run
WHEN NEW.status = 'COMPLETED' OR NEW.status = 'FAILED' OR NEW.status = 'CANCELLED'
BEGIN
    DELETE FROM wait WHERE run = NEW.number;
    DELETE FROM inbox WHERE run = NEW.number AND (NEW.status <> 'FAILED' OR (kind <> 'answer' AND kind <> 'signal'));
END;

DROP VIEW runs;

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
       run.tags,
       run.origin
FROM run
LEFT JOIN log AS last ON last.id = (SELECT id FROM log WHERE run = run.number ORDER BY first DESC LIMIT 1);

-- For people who look into the file: a task a row, with how its last attempt ended. Ask for one run (or some), as with all
-- views that are computed from events.
CREATE VIEW tasks AS
SELECT run_id,
       task,
       node,
       count(*)                         AS attempts,
       min(started_at)                  AS started_at,
       -- Of the columns below, those of the row that max() is taken from: SQLite documents that.
       max(started_seq)                 AS last_started_seq,
       ended_seq,
       ended_at,
       outcome,
       error
FROM attempts
GROUP BY run_id, task;

-- A batch a row: a fork, and the tasks in it. size is NULL for as long as it isn't known.
CREATE VIEW batches AS
SELECT run_id,
       instance,
       max(fork)                         AS fork,
       max(task)                         AS task,
       coalesce(max(size), max(taken))   AS size,
       max(opened_seq)                   AS opened_seq,
       max(opened_at)                    AS opened_at
FROM (
    SELECT run_id,
           json_extract(event, '$[1]')                                    AS instance,
           CASE kind WHEN 'ForkOpened' THEN json_extract(event, '$[2]') END AS fork,
           CASE kind WHEN 'ForkOpened' THEN json_extract(event, '$[3]') END AS task,
           CASE kind WHEN 'ForkOpened' THEN json_extract(event, '$[4]') END AS size,
           CASE kind WHEN 'ItemsEnded' THEN json_extract(event, '$[2]') END AS taken,
           CASE kind WHEN 'ForkOpened' THEN seq END                       AS opened_seq,
           CASE kind WHEN 'ForkOpened' THEN ts END                        AS opened_at
    FROM events
    WHERE kind IN ('ForkOpened', 'ItemsEnded')
)
GROUP BY run_id, instance;

-- A join that has ended a row; instance is that of the batch it has joined.
CREATE VIEW joins AS
SELECT run_id,
       json_extract(event, '$[1]')                                   AS node,
       json_extract(event, '$[2]')                                   AS instance,
       CASE kind WHEN 'JoinClosed' THEN 'closed' ELSE 'cancelled' END AS outcome,
       CASE kind WHEN 'JoinClosed' THEN json_extract(event, '$[4]') END AS folded,
       nullif(json_extract(event, '$[5]'), 0)                        AS first_seq,
       nullif(json_extract(event, '$[6]'), 0)                        AS last_seq,
       seq                                                           AS ended_seq,
       ts                                                            AS ended_at
FROM events
WHERE kind IN ('JoinClosed', 'JoinCancelled');

-- A wait a row, those that are over too: for whom or what, since when, and who or what ended it.
CREATE VIEW waits AS
SELECT run_id,
       json_extract(event, '$[1]')  AS task,
       json_extract(event, '$[2]')  AS node,
       json_extract(event, '$[3]')  AS kind,
       coalesce(json_extract(event, '$[4]'), '') AS name,
       coalesce(json_extract(event, '$[5]'), '') AS title,
       coalesce(json_extract(event, '$[6]'), '') AS assignee,
       seq                          AS opened_seq,
       ts                           AS opened_at,
       json_extract(event, '$[8]')  AS due_at,
       ended_seq,
       ended_at,
       CASE ended
           WHEN 'Answered' THEN 'answered'
           WHEN 'SignalReceived' THEN 'signalled'
           WHEN 'TimerFired' THEN 'timed out'
           WHEN 'NodeFailed' THEN 'failed'
           WHEN 'NodeCancelled' THEN 'cancelled'
       END                          AS outcome,
       CASE ended
           WHEN 'Answered' THEN coalesce(json_extract(ending, '$[3]'), '')
           WHEN 'SignalReceived' THEN coalesce(json_extract(ending, '$[4]'), '')
       END                          AS by,
       CASE ended
           WHEN 'Answered' THEN json_extract(ending, '$[2]')
           WHEN 'SignalReceived' THEN json_extract(ending, '$[3]')
       END                          AS value
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
    WHERE kind IN ('WaitOpened', 'Answered', 'SignalReceived', 'TimerFired', 'NodeFailed', 'NodeCancelled')
    WINDOW next AS (PARTITION BY run_id, json_extract(event, '$[1]') ORDER BY seq)
)
WHERE kind = 'WaitOpened';

-- What people have done to runs: who, when and why. about is the source of a fork, the task that was answered, the signal.
CREATE VIEW verbs AS
SELECT run_id,
       seq,
       ts,
       CASE kind
           WHEN 'RunStarted' THEN iif(coalesce(json_extract(event, '$[13]'), '') = '', 'start', 'fork')
           WHEN 'RunPaused' THEN 'pause'
           WHEN 'RunResumed' THEN 'resume'
           WHEN 'RunRetried' THEN 'retry'
           WHEN 'RunAccepted' THEN 'accept'
           WHEN 'RunCancelled' THEN 'cancel'
           WHEN 'SegmentStarted' THEN 'recover'
           WHEN 'Answered' THEN 'respond'
           WHEN 'AnswerRefused' THEN 'refused'
           ELSE 'signal'
       END AS verb,
       coalesce(json_extract(event, CASE kind
           WHEN 'RunStarted' THEN '$[7]'
           WHEN 'RunAccepted' THEN '$[2]'
           WHEN 'SegmentStarted' THEN '$[4]'
           WHEN 'SignalReceived' THEN '$[4]'
           WHEN 'Answered' THEN '$[3]'
           WHEN 'AnswerRefused' THEN '$[3]'
           WHEN 'SignalKept' THEN '$[3]'
           ELSE '$[1]'
       END), '') AS by,
       coalesce(json_extract(event, CASE kind
           WHEN 'RunStarted' THEN '$[15]'
           WHEN 'RunAccepted' THEN '$[3]'
           WHEN 'SegmentStarted' THEN '$[5]'
           WHEN 'AnswerRefused' THEN '$[2]'
           WHEN 'RunPaused' THEN '$[2]'
           WHEN 'RunResumed' THEN '$[2]'
           WHEN 'RunRetried' THEN '$[2]'
           WHEN 'RunCancelled' THEN '$[2]'
       END), '') AS reason,
       coalesce(json_extract(event, CASE kind
           WHEN 'RunStarted' THEN '$[13]'
           WHEN 'SignalReceived' THEN '$[2]'
           WHEN 'SignalKept' THEN '$[1]'
           WHEN 'Answered' THEN '$[1]'
           WHEN 'AnswerRefused' THEN '$[1]'
       END), '') AS about
FROM events
WHERE kind IN ('RunStarted', 'RunPaused', 'RunResumed', 'RunRetried', 'RunAccepted', 'RunCancelled', 'Answered',
               'SignalReceived', 'SignalKept', 'AnswerRefused')
   OR (kind = 'SegmentStarted' AND coalesce(json_extract(event, '$[4]'), '') || coalesce(json_extract(event, '$[5]'), '') <> '');
