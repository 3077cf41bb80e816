-- Why a purchase was made as it was, and what a request that was only observed would have been deferred to, and cost.

ALTER TABLE ledger ADD COLUMN reason TEXT;
ALTER TABLE ledger ADD COLUMN observed_tier TEXT;
ALTER TABLE ledger ADD COLUMN observed INTEGER;
