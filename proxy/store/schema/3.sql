-- What clients keep here: documents that the store does not read, and their parts.
CREATE TABLE documents (
    n INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    tenant TEXT NOT NULL,
    version INTEGER NOT NULL,
    pending INTEGER NOT NULL,
    created_at REAL NOT NULL,
    content BLOB NOT NULL
);
CREATE UNIQUE INDEX documents_by_id ON documents (kind, id);
CREATE INDEX documents_of_tenant ON documents (kind, tenant, n);
CREATE INDEX documents_pending ON documents (kind, n) WHERE pending = 1;
CREATE INDEX documents_ended ON documents (kind, created_at) WHERE pending = 0;
CREATE TABLE parts (
    document_id TEXT NOT NULL,
    number INTEGER NOT NULL,
    content BLOB NOT NULL,
    PRIMARY KEY (document_id, number)
);
