-- Policies as their authors signed them: the newest issue of each name, withdrawn ones too, so that none of an older serial comes
-- after it. `serial`: 8 bytes, big-endian. `digest`: SHA-384 over its text.
CREATE TABLE policies (
    name            TEXT    PRIMARY KEY NOT NULL,
    serial          BLOB    NOT NULL CHECK (length(serial) = 8),
    digest          BLOB    NOT NULL CHECK (length(digest) = 48),
    author          TEXT    NOT NULL,
    signed          BLOB    NOT NULL,
    operator        TEXT    NOT NULL,
    applied_at_ms   INTEGER NOT NULL,
    withdrawn_at_ms INTEGER,
    withdrawn_by    TEXT
) STRICT;

-- The set of those that are not withdrawn: one row, or none before the first policy. `number` rises with each change, also over a
-- backup that is restored: it is never below the time in seconds.
CREATE TABLE policy_set (
    one           INTEGER PRIMARY KEY CHECK (one = 1),
    number        INTEGER NOT NULL,
    digest        BLOB    NOT NULL CHECK (length(digest) = 48),
    changed_at_ms INTEGER NOT NULL
) STRICT;

-- What enclaves said of sets: the one in force, and the last that was refused. Each is NULL as a whole or not at all.
CREATE TABLE policy_reports (
    card             BLOB    PRIMARY KEY NOT NULL CHECK (length(card) = 32),
    in_force         BLOB    CHECK (length(in_force) = 8),
    in_force_digest  BLOB    CHECK (length(in_force_digest) = 48),
    in_force_at_ms   INTEGER,
    in_force_guests  INTEGER,
    refused          BLOB    CHECK (length(refused) = 8),
    refused_reason   TEXT    CHECK (refused_reason IN ('rollback', 'author', 'malformed', 'failed')),
    refused_detail   TEXT,
    refused_at_ms    INTEGER
) STRICT, WITHOUT ROWID;

-- Up to where evidence of an enclave is kept, by the state that its sequence numbers are of. Numbers are 8 bytes, big-endian.
-- `gaps`: how often evidence was not there any more that had been sent.
CREATE TABLE evidence_sources (
    card         BLOB    NOT NULL CHECK (length(card) = 32),
    source       BLOB    NOT NULL CHECK (length(source) = 16),
    kept         BLOB    NOT NULL CHECK (length(kept) = 8),
    gaps         INTEGER NOT NULL,
    last_at_ms   INTEGER NOT NULL,
    PRIMARY KEY (card, source)
) STRICT, WITHOUT ROWID;

-- The newest evidence of each enclave, verbatim.
CREATE TABLE enclave_evidence (
    number         INTEGER PRIMARY KEY AUTOINCREMENT,
    card           BLOB    NOT NULL CHECK (length(card) = 32),
    source         BLOB    NOT NULL CHECK (length(source) = 16),
    sequence       BLOB    NOT NULL CHECK (length(sequence) = 8),
    signed         BLOB    NOT NULL,
    received_at_ms INTEGER NOT NULL
) STRICT;

CREATE INDEX enclave_evidence_by_card ON enclave_evidence (card, number);
