-- How far each vault's counter is, and who reported in with it last.

CREATE TABLE vault_counters (
    card             BLOB    NOT NULL PRIMARY KEY CHECK (length(card) = 32),
    -- Big-endian: SQLite's integers are signed.
    counter          BLOB    NOT NULL CHECK (length(counter) = 8),
    -- The mark that was given for it, and is due with the next.
    mark             BLOB    NOT NULL CHECK (length(mark) = 32),
    statement_sha256 BLOB    NOT NULL CHECK (length(statement_sha256) = 32),
    machine          TEXT    NOT NULL,
    boot             BLOB    NOT NULL CHECK (length(boot) = 16),
    address          TEXT    NOT NULL,
    reported_at_ms   INTEGER NOT NULL
) STRICT;

-- Vaults that reported in with what another had used up: the machine that had, and the one that came then.
CREATE TABLE vault_forks (
    card             BLOB    NOT NULL PRIMARY KEY CHECK (length(card) = 32),
    former_machine   TEXT    NOT NULL,
    former_boot      BLOB    NOT NULL CHECK (length(former_boot) = 16),
    former_address   TEXT    NOT NULL,
    former_at_ms     INTEGER NOT NULL,
    machine          TEXT    NOT NULL,
    boot             BLOB    NOT NULL CHECK (length(boot) = 16),
    address          TEXT    NOT NULL,
    found_at_ms      INTEGER NOT NULL
) STRICT;
