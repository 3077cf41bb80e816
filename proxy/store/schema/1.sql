-- The embedded store, as it was first; each further file makes of it the next version. Instants are unix seconds, amounts are picodollars, ids are text that sorts by time.
-- Tables keep their rowid and index the id apart: inserts at the end of a b-tree are what makes accepting fast.

CREATE TABLE meta (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
);

CREATE TABLE requests (
    n INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    tenant TEXT NOT NULL,
    upstream TEXT NOT NULL,
    credential TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    model TEXT NOT NULL,
    body BLOB NOT NULL,
    fingerprint BLOB NOT NULL,
    idempotency_key TEXT,
    stream INTEGER NOT NULL,
    include_usage INTEGER NOT NULL,
    delivery TEXT NOT NULL,
    policy TEXT NOT NULL,
    reason TEXT NOT NULL,
    estimated_tokens INTEGER NOT NULL,
    accepted_at REAL NOT NULL,
    deadline_at REAL NOT NULL,
    ready_at REAL NOT NULL,
    tiers TEXT NOT NULL,                  -- that it may be bought at, such as 'batch flex standard'
    tries INTEGER NOT NULL DEFAULT 0,
    state TEXT NOT NULL DEFAULT 'open',
    stage TEXT NOT NULL DEFAULT 'queued', -- a function of the live attempts, cached
    batch_id TEXT,                        -- the batch of the live line, or of the line that answered
    finished_at REAL,
    delivered_at REAL,
    status INTEGER,
    tier TEXT,
    paid INTEGER,
    saved INTEGER,
    answer_headers BLOB,
    answer_body BLOB
);
CREATE UNIQUE INDEX requests_by_id ON requests (id);
CREATE UNIQUE INDEX requests_by_key ON requests (tenant, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX requests_undelivered ON requests (tenant, fingerprint) WHERE delivered_at IS NULL;
CREATE INDEX requests_open ON requests (n) WHERE state = 'open';
CREATE INDEX requests_finished ON requests (finished_at) WHERE finished_at IS NOT NULL;

-- Which requests have changed, in order: for whoever keeps a copy of what is waiting. Old rows are swept.
CREATE TABLE changes (
    n INTEGER PRIMARY KEY,
    request_n INTEGER NOT NULL,
    request_id TEXT NOT NULL
);
CREATE TRIGGER request_accepted AFTER INSERT ON requests BEGIN
    INSERT INTO changes (request_n, request_id) VALUES (NEW.n, NEW.id);
END;
CREATE TRIGGER request_changed AFTER UPDATE OF state, stage, batch_id, tries, ready_at ON requests BEGIN
    INSERT INTO changes (request_n, request_id) VALUES (NEW.n, NEW.id);
END;

CREATE TABLE batches (
    n INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    upstream TEXT NOT NULL,
    credential TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    model TEXT NOT NULL,
    state TEXT NOT NULL,
    lines INTEGER NOT NULL,
    body_bytes INTEGER NOT NULL,
    estimated_tokens INTEGER NOT NULL,
    created_at REAL NOT NULL,
    deadline_at REAL NOT NULL,
    due_at REAL NOT NULL,
    provider_id TEXT,
    provider_status TEXT,
    completed_lines INTEGER NOT NULL DEFAULT 0,
    failed_lines INTEGER NOT NULL DEFAULT 0,
    input_file_id TEXT,
    output_file_id TEXT,
    error_file_id TEXT,
    creating_at REAL,
    submitted_at REAL,
    cancel_requested_at REAL,
    ended_at REAL,
    outcome TEXT,
    closed_at REAL
);
CREATE UNIQUE INDEX batches_by_id ON batches (id);
CREATE INDEX batches_open ON batches (n) WHERE closed_at IS NULL;
CREATE INDEX batches_closed ON batches (closed_at) WHERE closed_at IS NOT NULL;

CREATE TABLE attempts (
    n INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    request_n INTEGER NOT NULL,
    kind TEXT NOT NULL,
    tier TEXT NOT NULL,
    batch_id TEXT,
    state TEXT NOT NULL DEFAULT 'written',
    created_at REAL NOT NULL
);
CREATE UNIQUE INDEX attempts_by_id ON attempts (id);
CREATE INDEX attempts_by_request ON attempts (request_n);
CREATE INDEX attempts_by_batch ON attempts (batch_id, id) WHERE state IN ('written', 'sent') AND batch_id IS NOT NULL;
CREATE INDEX attempts_calls ON attempts (n) WHERE state IN ('written', 'sent') AND kind = 'call';

CREATE TABLE ledger (
    n INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    request_id TEXT NOT NULL,
    attempt_id TEXT,
    batch_id TEXT,
    tenant TEXT NOT NULL,
    upstream TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    model TEXT NOT NULL,
    policy TEXT NOT NULL,
    tier TEXT NOT NULL,
    kind TEXT NOT NULL,
    status INTEGER NOT NULL,
    booked_at REAL NOT NULL,
    input_tokens INTEGER,
    cached_tokens INTEGER,
    output_tokens INTEGER,
    paid INTEGER,
    list INTEGER
);
CREATE UNIQUE INDEX ledger_by_id ON ledger (id);
CREATE INDEX ledger_by_request ON ledger (request_id);
CREATE INDEX ledger_by_time ON ledger (booked_at);

-- What was learned and must survive a restart, by name.
CREATE TABLE notes (
    name TEXT PRIMARY KEY,
    content BLOB NOT NULL
);

CREATE TABLE credentials (
    id TEXT PRIMARY KEY,
    sealed BLOB NOT NULL
);
