-- What a policy says about a request's deadline and retention, and the numbers that its decision rests on (JSON).

ALTER TABLE requests ADD COLUMN on_miss TEXT NOT NULL DEFAULT 'escalate';
ALTER TABLE requests ADD COLUMN confidence REAL NOT NULL DEFAULT 0.999;
ALTER TABLE requests ADD COLUMN retention REAL;          -- seconds; NULL: as configured
ALTER TABLE requests ADD COLUMN grounds BLOB;
CREATE INDEX requests_kept ON requests (finished_at + retention) WHERE retention IS NOT NULL AND finished_at IS NOT NULL;
