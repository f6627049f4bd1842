PRAGMA application_id = 1885696612;
PRAGMA user_version = 1;
BEGIN TRANSACTION;
CREATE TABLE answered (
    run    INTEGER NOT NULL,                       -- the number of the run
    task   TEXT NOT NULL,
    digest BLOB NOT NULL,
    PRIMARY KEY (run, task)
) STRICT;
INSERT INTO "answered" VALUES(6,'3adfa3jntrpws3lk',X'713C5F1CFA4482693693E8270B9F5A5A');
CREATE TABLE blob (
    run    INTEGER NOT NULL,                       -- the number of the run
    digest TEXT NOT NULL,                          -- blake2b of the data, 16 bytes in hex
    data   BLOB NOT NULL,
    PRIMARY KEY (run, digest)
) STRICT;
CREATE TABLE counter (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT;
INSERT INTO "counter" VALUES('epoch',6);
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
INSERT INTO "log" VALUES(1,1,1,8,1,1795278968695680,'[["RunStarted","orders","54393d6058999b38d0d09458b8bdb304",null,"44f8075de475106aaf7822e598a3d25b",null,"941dffce4e4308ceb33e87326003257d","ann","sync",null,null,{"team":"a"},"","",false],["NodeCompleted","xg7r64yaxynzk24v",null,null,null],["ForkOpened","ujr2tjul3v7vwex7","items","xg7r64yaxynzk24v",2],["ItemsTaken","ujr2tjul3v7vwex7",0,[2,[1,2],null]],["SegmentStarted","host:15958:b393ce09209447f0","0.1.0","54393d6058999b38d0d09458b8bdb304","",""],["ArmsOpened","ujr2tjul3v7vwex7",2],["NodeStarted","gpwnwkxaznnjmn5c","ship",1],["NodeStarted","nk5jb456wkbvpnee","ship",1]]',X'B0F9FD061D02D1E1E167C0B176DCA6AC');
INSERT INTO "log" VALUES(2,1,9,6,1,1795278968702973,'[["NodeCompleted","gpwnwkxaznnjmn5c",1,null,null],["NodeCompleted","nk5jb456wkbvpnee",2,null,null],["ReducerUpdated","gpwnwkxaznnjmn5c","total",null],["ReducerUpdated","nk5jb456wkbvpnee","total",null],["JoinClosed","total","ujr2tjul3v7vwex7",3,2,11,12,null,null],["RunCompleted",[[13,null,"ozkptqhlrbcg7bpv","total"]],""]]',X'BBD9079CD3FE679EE1C96281B94D5F3C');
INSERT INTO "log" VALUES(3,2,1,8,1,1795278968753095,'[["RunStarted","orders","54393d6058999b38d0d09458b8bdb304",null,"0cfe19e25cc77ba97ba4bb640eccf499",null,"941dffce4e4308ceb33e87326003257d","","sync",null,null,{},"","",false],["NodeCompleted","xg7r64yaxynzk24v",null,null,null],["ForkOpened","ujr2tjul3v7vwex7","items","xg7r64yaxynzk24v",2],["ItemsTaken","ujr2tjul3v7vwex7",0,[2,[1,-2],null]],["SegmentStarted","host:15958:b393ce09209447f0","0.1.0","54393d6058999b38d0d09458b8bdb304","",""],["ArmsOpened","ujr2tjul3v7vwex7",2],["NodeStarted","gpwnwkxaznnjmn5c","ship",1],["NodeStarted","nk5jb456wkbvpnee","ship",1]]',X'593C3CFBFAF2347D5A5AB2E192F658D4');
INSERT INTO "log" VALUES(4,2,9,4,1,1795278968763515,'[["NodeCompleted","gpwnwkxaznnjmn5c",1,null,null],["NodeFailed","nk5jb456wkbvpnee",["ValueError","it costs less than nothing","Traceback (most recent call last)\n",[]],"fail",null,null],["ReducerUpdated","gpwnwkxaznnjmn5c","total",null],["RunFailed",["ValueError","it costs less than nothing","Traceback (most recent call last)\n",[]],"nk5jb456wkbvpnee","items[1]/ship"]]',X'9CD08A969C3DBF20A73CD40ED1D5A40F');
INSERT INTO "log" VALUES(5,3,1,5,1,1795278968778577,'[["RunStarted","orders","54393d6058999b38d0d09458b8bdb304",null,"44f8075de475106aaf7822e598a3d25b",null,"941dffce4e4308ceb33e87326003257d","bob","sync",null,null,{"team":"a"},"","order-1",false],["NodeCompleted","xg7r64yaxynzk24v",null,null,null],["ForkOpened","ujr2tjul3v7vwex7","items","xg7r64yaxynzk24v",2],["ItemsTaken","ujr2tjul3v7vwex7",0,[2,[1,2],null]],["ArmsOpened","ujr2tjul3v7vwex7",2]]',X'236D7B351EC26A1BFE1D7F5AF44BE7E8');
INSERT INTO "log" VALUES(6,3,6,3,2,1795278968796027,'[["SegmentStarted","host:15958:b393ce09209447f0","0.1.0","54393d6058999b38d0d09458b8bdb304","",""],["NodeStarted","gpwnwkxaznnjmn5c","ship",1],["NodeStarted","nk5jb456wkbvpnee","ship",1]]',X'E9EE83DCF761161BB11059A69F688B77');
INSERT INTO "log" VALUES(7,3,9,6,2,1795278968806327,'[["NodeCompleted","gpwnwkxaznnjmn5c",1,null,null],["NodeCompleted","nk5jb456wkbvpnee",2,null,null],["ReducerUpdated","gpwnwkxaznnjmn5c","total",null],["ReducerUpdated","nk5jb456wkbvpnee","total",null],["JoinClosed","total","ujr2tjul3v7vwex7",3,2,11,12,null,null],["RunCompleted",[[13,null,"ozkptqhlrbcg7bpv","total"]],""]]',X'6735BEDC25D893DE0085ED01555A754E');
INSERT INTO "log" VALUES(8,4,1,4,1,1795278968827474,'[["RunStarted","poll","baf24f5b57e68c09835863b01807e111",1,"cea3878a334b240469d159ff840b6434",{"rounds":0},"a5f07e5109ad3dcfb69089514a615081","","sync",null,null,{},"","",false],["SegmentStarted","host:15958:b393ce09209447f0","0.1.0","baf24f5b57e68c09835863b01807e111","",""],["NodeCompleted","xg7r64yaxynzk24v",null,null,null],["NodeStarted","xmpr7kjjzdnmnz2i","look",1]]',X'74063585595533AB9EB087A956A40343');
INSERT INTO "log" VALUES(9,4,5,2,1,1795278968835153,'[["RunContinued","xmpr7kjjzdnmnz2i","poll~2",2,{"rounds":1}],["NodeInterrupted","xmpr7kjjzdnmnz2i"]]',X'216ACC4279DFE6A4635ADD034C29AD03');
INSERT INTO "log" VALUES(10,5,1,1,3,1795278968855103,'[["RunStarted","poll","baf24f5b57e68c09835863b01807e111",2,"4129e2a8044a57ce7635fd6023661cd6",{"rounds":1},"11cf7d7e1a9f9cf3d8ff2d9eacf753f6","","sync",null,null,{},"","poll",false]]',X'BDFC360460B698FBA48B336AA937DBA6');
INSERT INTO "log" VALUES(11,4,7,2,1,1795278968863075,'[["NodeCancelled","xmpr7kjjzdnmnz2i","the run goes on as poll~2"],["RunCompleted",[],"poll~2"]]',X'AA0DAF77245247B9E26C7348050E5CE0');
INSERT INTO "log" VALUES(12,5,2,3,4,1795278968879696,'[["SegmentStarted","host:15958:b393ce09209447f0","0.1.0","baf24f5b57e68c09835863b01807e111","",""],["NodeCompleted","xg7r64yaxynzk24v",null,null,null],["NodeStarted","xmpr7kjjzdnmnz2i","look",1]]',X'064F8EA429D62FD33E73315FCF0DA5E6');
INSERT INTO "log" VALUES(13,5,5,2,4,1795278968886104,'[["NodeCompleted","xmpr7kjjzdnmnz2i",2,null,[1,[["set",["rounds"],2]],[]]],["RunCompleted",[[5,null,"xmpr7kjjzdnmnz2i","look"]],""]]',X'6552D24B67FDF22A7651A421FFD99B87');
INSERT INTO "log" VALUES(14,6,1,6,1,1795278968899383,'[["RunStarted","review","c05ef835259007ec2ce15df0f1366bbf",null,"941dffce4e4308ceb33e87326003257d",null,"941dffce4e4308ceb33e87326003257d","","sync",null,null,{},"","",false],["SegmentStarted","host:15958:b393ce09209447f0","0.1.0","c05ef835259007ec2ce15df0f1366bbf","",""],["NodeCompleted","xg7r64yaxynzk24v",null,null,null],["ForkOpened","exzv6ej7gnzq34ub","parallel_fork","xg7r64yaxynzk24v",2],["WaitOpened","3adfa3jntrpws3lk","law","human","law","Read it","ann",{"type":"boolean"},null],["WaitOpened","k65aor52u4zjipea","money","human","money","","bob",{"type":"boolean"},null]]',X'7196EC13D1DBA736C99B92EFF738E4B6');
INSERT INTO "log" VALUES(15,6,7,1,1,1795278968907125,'[["SegmentEnded","host:15958:b393ce09209447f0","waiting"]]',X'2E9B539B7C782356EB3A4C1E00E47E45');
INSERT INTO "log" VALUES(16,6,8,3,5,1795278968936373,'[["SegmentStarted","host:15958:b393ce09209447f0","0.1.0","c05ef835259007ec2ce15df0f1366bbf","",""],["Answered","3adfa3jntrpws3lk",true,"ann",1],["NodeCompleted","3adfa3jntrpws3lk",null,null,null]]',X'12A380237F6CA330D202E3304A7477F7');
INSERT INTO "log" VALUES(17,6,11,1,5,1795278968945641,'[["SegmentEnded","host:15958:b393ce09209447f0","waiting"]]',X'9B7771DF094179C22AEB71C9F3761160');
INSERT INTO "log" VALUES(18,6,12,1,6,1795278968975274,'[["RunPaused","cleo","holidays",2]]',X'F3DD3D13F67D82D873BA6376E21E5CD6');
CREATE TABLE plan (
    fingerprint TEXT PRIMARY KEY,
    name        TEXT NOT NULL,
    plan        TEXT NOT NULL                      -- the structure of a graph, as JSON
) STRICT;
INSERT INTO "plan" VALUES('54393d6058999b38d0d09458b8bdb304','orders','{"name":"orders","nodes":{"__end__":{"id":"__end__","kind":"end"},"__start__":{"id":"__start__","kind":"start","flow":{"type":"spread","fork":"items","then":{"type":"leaf","target":"ship"}},"catch":["fail",""]},"items":{"id":"items","kind":"map","counted":[["items","total"]]},"ship":{"id":"ship","kind":"step","flow":{"type":"leaf","target":"total"},"counted":[["items","total"]],"catch":["fail",""]},"total":{"id":"total","kind":"join","flow":{"type":"leaf","target":"__end__"},"parent":"items"}},"fingerprint":"54393d6058999b38d0d09458b8bdb304","max_steps":10000}');
INSERT INTO "plan" VALUES('baf24f5b57e68c09835863b01807e111','poll','{"name":"poll","nodes":{"__end__":{"id":"__end__","kind":"end"},"__start__":{"id":"__start__","kind":"start","flow":{"type":"leaf","target":"look"},"catch":["fail",""]},"look":{"id":"look","kind":"step","flow":{"type":"leaf","target":"__end__"},"catch":["fail",""]}},"fingerprint":"baf24f5b57e68c09835863b01807e111","max_steps":10000}');
INSERT INTO "plan" VALUES('c05ef835259007ec2ce15df0f1366bbf','review','{"name":"review","nodes":{"__end__":{"id":"__end__","kind":"end"},"__start__":{"id":"__start__","kind":"start","flow":{"type":"leaf","target":"parallel"},"catch":["fail",""]},"law":{"id":"law","kind":"wait","flow":{"type":"leaf","target":"parallel_join"},"counted":[["parallel_fork","parallel_join"]],"catch":["fail",""],"wait":{"kind":"human","name":"law","title":"Read it","assignee":"ann","schema":{"type":"boolean"}}},"money":{"id":"money","kind":"wait","flow":{"type":"leaf","target":"parallel_join"},"counted":[["parallel_fork","parallel_join"]],"catch":["fail",""],"wait":{"kind":"human","name":"money","assignee":"bob","schema":{"type":"boolean"}}},"parallel":{"id":"parallel","kind":"group","flow":{"type":"split","fork":"parallel_fork","arms":[{"type":"leaf","target":"law"},{"type":"leaf","target":"money"}],"ranks":[0,1]}},"parallel_fork":{"id":"parallel_fork","kind":"broadcast","counted":[["parallel_fork","parallel_join"]]},"parallel_join":{"id":"parallel_join","kind":"join","flow":{"type":"leaf","target":"__end__"},"parent":"parallel_fork","order":"branch"}},"fingerprint":"c05ef835259007ec2ce15df0f1366bbf","max_steps":10000}');
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
INSERT INTO "run" VALUES(1,'order-1','orders','54393d6058999b38d0d09458b8bdb304','COMPLETED',14,1,'{"id":"b393ce09209447f0","host":"host","boot":"107d1965-3d2d-4174-bf10-6681be456dc7","namespace":"pid:[4026531836]","pid":15958,"started":"1282893"}',1795278983695715,1795278968695680,'44f8075de475106aaf7822e598a3d25b','941dffce4e4308ceb33e87326003257d','',NULL,'{"team":"a"}');
INSERT INTO "run" VALUES(2,'order-2','orders','54393d6058999b38d0d09458b8bdb304','FAILED',12,1,NULL,0,1795278968753095,'0cfe19e25cc77ba97ba4bb640eccf499','941dffce4e4308ceb33e87326003257d','ValueError: it costs less than nothing',NULL,'{}');
INSERT INTO "run" VALUES(3,'order-1-again','orders','54393d6058999b38d0d09458b8bdb304','COMPLETED',14,2,'{"id":"b393ce09209447f0","host":"host","boot":"107d1965-3d2d-4174-bf10-6681be456dc7","namespace":"pid:[4026531836]","pid":15958,"started":"1282893"}',1795278983783463,1795278968778577,'44f8075de475106aaf7822e598a3d25b','941dffce4e4308ceb33e87326003257d','',NULL,'{}');
INSERT INTO "run" VALUES(4,'poll','poll','baf24f5b57e68c09835863b01807e111','COMPLETED',8,1,'{"id":"b393ce09209447f0","host":"host","boot":"107d1965-3d2d-4174-bf10-6681be456dc7","namespace":"pid:[4026531836]","pid":15958,"started":"1282893"}',1795278983827507,1795278968827474,'cea3878a334b240469d159ff840b6434','a5f07e5109ad3dcfb69089514a615081','',NULL,'{}');
INSERT INTO "run" VALUES(5,'poll~2','poll','baf24f5b57e68c09835863b01807e111','COMPLETED',6,4,'{"id":"b393ce09209447f0","host":"host","boot":"107d1965-3d2d-4174-bf10-6681be456dc7","namespace":"pid:[4026531836]","pid":15958,"started":"1282893"}',1795278983872497,1795278968855103,'4129e2a8044a57ce7635fd6023661cd6','11cf7d7e1a9f9cf3d8ff2d9eacf753f6','',NULL,'{}');
INSERT INTO "run" VALUES(6,'review-1','review','c05ef835259007ec2ce15df0f1366bbf','PAUSED',12,6,NULL,0,1795278968899383,'941dffce4e4308ceb33e87326003257d','941dffce4e4308ceb33e87326003257d','',NULL,'{}');
CREATE TABLE snapshot (
    run         INTEGER PRIMARY KEY,               -- the number of the run
    format      INTEGER NOT NULL,
    fingerprint TEXT NOT NULL,
    seq         INTEGER NOT NULL,
    head        BLOB NOT NULL,
    data        BLOB NOT NULL,
    hash        BLOB NOT NULL
) STRICT;
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
INSERT INTO "wait" VALUES(6,'k65aor52u4zjipea','money','human','money','','bob','{"type":"boolean"}',1795278968899383,NULL,'parallel_fork[1]/money');
CREATE INDEX run_by_creation ON run (created_at);
CREATE INDEX run_to_drive ON run (graph, ready_at) WHERE ready_at IS NOT NULL;
CREATE INDEX run_under_lease ON run (lease_until)
WHERE owner IS NOT NULL AND status IN ('PENDING', 'RUNNING', 'WAITING');
CREATE UNIQUE INDEX log_by_run ON log (run, first);
CREATE TRIGGER log_never_changes BEFORE UPDATE ON log
BEGIN
    SELECT RAISE(ABORT, 'the log is append-only');
END;
CREATE TRIGGER log_never_shrinks BEFORE DELETE ON log
WHEN EXISTS (SELECT 1 FROM run WHERE number = OLD.run)
BEGIN
    SELECT RAISE(ABORT, 'the log is append-only: delete the whole run, by its row in run');
END;
CREATE TRIGGER run_takes_its_log_along AFTER DELETE ON run
BEGIN
    DELETE FROM log WHERE run = OLD.number;
    DELETE FROM blob WHERE run = OLD.number;
    DELETE FROM snapshot WHERE run = OLD.number;
    DELETE FROM wait WHERE run = OLD.number;
    DELETE FROM inbox WHERE run = OLD.number;
    DELETE FROM answered WHERE run = OLD.number;
END;
CREATE INDEX wait_by_age ON wait (opened_at);
CREATE INDEX inbox_by_run ON inbox (run);
CREATE UNIQUE INDEX inbox_holds_one_answer ON inbox (run, key) WHERE kind = 'answer';
CREATE TRIGGER run_that_is_over_waits_for_nothing AFTER UPDATE OF status ON run
WHEN NEW.status IN ('COMPLETED', 'FAILED', 'CANCELLED')
BEGIN
    DELETE FROM wait WHERE run = NEW.number;
    DELETE FROM inbox WHERE run = NEW.number AND (NEW.status <> 'FAILED' OR kind NOT IN ('answer', 'signal'));
END;
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
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('inbox',2);
COMMIT;
