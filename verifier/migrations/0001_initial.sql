-- Times are milliseconds since the Unix epoch. Boot counters are 8 bytes, big-endian: u64 does not
-- fit SQLite's signed INTEGER, and such blobs compare in the order of the numbers.

CREATE TABLE join_codes (
    code_sha256   BLOB    PRIMARY KEY NOT NULL CHECK (length(code_sha256) = 32),
    host_name     TEXT    NOT NULL,
    operator      TEXT    NOT NULL,
    created_at_ms INTEGER NOT NULL,
    expires_at_ms INTEGER NOT NULL,
    used_at_ms    INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE hosts (
    card           BLOB    PRIMARY KEY NOT NULL CHECK (length(card) = 32),
    name           TEXT    NOT NULL,
    operator       TEXT    NOT NULL,
    enrolled_at_ms INTEGER NOT NULL,
    certificate    BLOB    NOT NULL
) STRICT, WITHOUT ROWID;

-- A revision is written once and never changed. A withdrawn profile is a newest revision without a
-- body, so that a revision number never comes back with other contents.
CREATE TABLE profiles (
    application   TEXT    NOT NULL,
    revision      INTEGER NOT NULL,
    body          TEXT,
    operator      TEXT    NOT NULL,
    created_at_ms INTEGER NOT NULL,
    PRIMARY KEY (application, revision)
) STRICT;

CREATE TABLE revocations (
    kind          TEXT    NOT NULL CHECK (kind IN ('host', 'guest', 'application', 'operator')),
    subject       TEXT    NOT NULL,
    reason        TEXT    NOT NULL,
    operator      TEXT    NOT NULL,
    created_at_ms INTEGER NOT NULL,
    PRIMARY KEY (kind, subject)
) STRICT, WITHOUT ROWID;

-- The highest boot of each VM that a verified report has shown: a lower one is a recycled identity.
CREATE TABLE boots (
    card BLOB NOT NULL CHECK (length(card) = 32),
    vm   BLOB NOT NULL CHECK (length(vm) = 16),
    boot BLOB NOT NULL CHECK (length(boot) = 8),
    PRIMARY KEY (card, vm)
) STRICT, WITHOUT ROWID;

CREATE TABLE verdicts (
    id               TEXT    PRIMARY KEY NOT NULL,
    judged_at_ms     INTEGER NOT NULL,
    guest            TEXT    NOT NULL,
    host             BLOB    NOT NULL,
    application      TEXT    NOT NULL,
    profile_revision INTEGER,
    status           TEXT    NOT NULL,
    reasons          TEXT    NOT NULL,
    report           BLOB    NOT NULL,
    token            TEXT    NOT NULL
) STRICT;

CREATE INDEX verdicts_by_guest ON verdicts (guest, id);
CREATE INDEX verdicts_by_application ON verdicts (application, id);
