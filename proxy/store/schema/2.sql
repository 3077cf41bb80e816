-- Webhooks: `webhook_at` is when one is to be called, once its request is final; NULL: not any more.

ALTER TABLE requests ADD COLUMN webhook TEXT;
ALTER TABLE requests ADD COLUMN webhook_at REAL;
CREATE INDEX requests_webhooks ON requests (webhook_at) WHERE webhook_at IS NOT NULL AND finished_at IS NOT NULL;
