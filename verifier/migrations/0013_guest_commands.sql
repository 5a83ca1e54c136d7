-- What operators had enclaves do to guests, and what came of it: none is changed after its answer, none is dropped. `number` rises with each
-- command to one enclave, also over a backup that is restored: it is never below the time in seconds. `boot`: 8 bytes, big-endian; NULL is
-- whichever runs. Without an outcome it waits for its enclave.
CREATE TABLE guest_commands (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    card           BLOB    NOT NULL CHECK (length(card) = 32),
    number         INTEGER NOT NULL,
    vm             BLOB    NOT NULL CHECK (length(vm) = 16),
    boot           BLOB    CHECK (length(boot) = 8),
    command        TEXT    NOT NULL CHECK (command IN ('isolate', 'release')),
    reason         TEXT    NOT NULL,
    operator       TEXT    NOT NULL,
    ordered_at_ms  INTEGER NOT NULL,
    outcome        TEXT    CHECK (outcome IN ('done', 'no-guest', 'failed')),
    detail         TEXT,
    answered_at_ms INTEGER,
    UNIQUE (card, number)
) STRICT;

CREATE INDEX guest_commands_that_wait ON guest_commands (card, number) WHERE outcome IS NULL;
