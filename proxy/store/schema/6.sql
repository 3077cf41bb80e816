-- The deadline of the request that a row settles; NULL on every other row. Rows of before tell of no deadlines.

ALTER TABLE ledger ADD COLUMN deadline_at REAL;
