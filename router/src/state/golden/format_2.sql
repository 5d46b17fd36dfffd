CREATE TABLE swarms(
    swarm_id TEXT PRIMARY KEY,
    json TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO swarms VALUES ('sw-1', '{"swarm_id":"sw-1","job_id":"local-1","node_count":2,"system_prompt":"be good","status":"running","reason":null,"provider":"local","agent":"echo","created":"1970-01-01T00:00:01.000Z","request_id":"r-1","spec":{"version":"0","swarm_id":"sw-1","job_id":"local-1","node_count":2,"agent":{"kind":"echo","sandbox":"workspace-write","approval_policy":"never","approvals":"decline","approval_timeout_seconds":600,"env":{},"config":{},"turn_timeout_seconds":3600,"start_timeout_seconds":60,"raw_events":false},"worker":{"heartbeat_seconds":15,"shutdown_grace_seconds":20,"queue_limit":1024}},"job":null}');
CREATE TABLE nodes(
    job_id TEXT NOT NULL, node_id INTEGER NOT NULL,
    json TEXT NOT NULL,
    offset INTEGER NOT NULL, seq INTEGER NOT NULL, sub INTEGER NOT NULL,
    PRIMARY KEY(job_id, node_id)) WITHOUT ROWID;
INSERT INTO nodes VALUES ('local-1', 0, '{"state":"busy","host":"h","pid":7,"pid_started":8,"epoch":2,"position":"5.1","offset":900,"ended":false,"current":"i-1","turns":3,"tokens":40,"error":"it was slow","approvals":[],"exit_said":false}', 900, 5, 1);
INSERT INTO nodes VALUES ('local-1', 1, '{"state":"pending","host":null,"pid":null,"pid_started":null,"epoch":0,"position":"0","offset":0,"ended":false,"current":null,"turns":0,"tokens":0,"error":null,"approvals":[],"exit_said":false}', 77, 1, 0);
CREATE TABLE prompts(
    number INTEGER PRIMARY KEY,
    content TEXT);
INSERT INTO prompts VALUES (10, 'work');
CREATE TABLE injections(
    injection_id TEXT PRIMARY KEY,
    job_id TEXT NOT NULL, node_id INTEGER NOT NULL,
    request_id TEXT,
    prompt_number INTEGER NOT NULL,
    steer INTEGER NOT NULL,
    state INTEGER NOT NULL,
    number INTEGER NOT NULL,
    ack_seq INTEGER NOT NULL, ack_sub INTEGER NOT NULL,
    accepted INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO injections VALUES ('i-1', 'local-1', 0, 'r 1 "x"', 10, 0, 1, 11, 5, 2, 2000);
INSERT INTO injections VALUES ('i-2', 'local-1', 0, 'r 1 "x"', 10, 1, 0, 12, 5, 2, 2000);
CREATE INDEX injections_open ON injections(state) WHERE state < 4;
CREATE INDEX injections_prompt ON injections(prompt_number) WHERE state < 2;
CREATE TABLE requests(
    request_id TEXT PRIMARY KEY,
    fingerprint TEXT NOT NULL,
    swarm_id TEXT,
    injections TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO requests VALUES ('r 1 "x"', '1-ff', 'sw-1', '[["i-1",{"job_id":"local-1","node_id":0},"5.2"]]');
CREATE TABLE said(
    job_id TEXT NOT NULL, node_id INTEGER NOT NULL,
    seq INTEGER NOT NULL, sub INTEGER NOT NULL,
    json TEXT NOT NULL,
    PRIMARY KEY(job_id, node_id, seq, sub)) WITHOUT ROWID;
INSERT INTO said VALUES ('local-1', 0, 5, 2, '{"type":"inject_ack","injection_id":"i-1","timestamp":"1970-01-01T00:00:03.000Z"}');
CREATE TABLE submissions(
    swarm_id TEXT PRIMARY KEY,
    json TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO submissions VALUES ('sw-2', '{"swarm":{"swarm_id":"sw-2","job_id":"local-1","node_count":2,"system_prompt":"be good","status":"running","reason":null,"provider":"local","agent":"echo","created":"1970-01-01T00:00:01.000Z","request_id":"r-1","spec":{"version":"0","swarm_id":"sw-1","job_id":"local-1","node_count":2,"agent":{"kind":"echo","sandbox":"workspace-write","approval_policy":"never","approvals":"decline","approval_timeout_seconds":600,"env":{},"config":{},"turn_timeout_seconds":3600,"start_timeout_seconds":60,"raw_events":false},"worker":{"heartbeat_seconds":15,"shutdown_grace_seconds":20,"queue_limit":1024}},"job":{"state":null,"reason":null,"restarts":0,"agents_per_node":2,"over":null}},"slurm":{"sbatch_args":[],"poll_seconds":30},"cluster_nodes":1,"immediate":false,"fingerprint":"1-ff","stage":{"submitted":"27"}}');
PRAGMA user_version = 2;
