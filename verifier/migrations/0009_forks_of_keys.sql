-- A fork that is found by a card's former key, which names another successor than it had named: neither machine has said its name then.

CREATE TABLE vault_forks_anew (
    card             BLOB    NOT NULL PRIMARY KEY CHECK (length(card) = 32),
    former_machine   TEXT,
    former_boot      BLOB    CHECK (length(former_boot) = 16),
    former_address   TEXT    NOT NULL,
    former_at_ms     INTEGER NOT NULL,
    machine          TEXT,
    boot             BLOB    CHECK (length(boot) = 16),
    address          TEXT    NOT NULL,
    found_at_ms      INTEGER NOT NULL,
    CHECK ((former_machine IS NULL) = (former_boot IS NULL)),
    CHECK ((machine IS NULL) = (boot IS NULL))
) STRICT;

INSERT INTO vault_forks_anew
    SELECT card, former_machine, former_boot, former_address, former_at_ms, machine, boot, address, found_at_ms FROM vault_forks;
DROP TABLE vault_forks;
ALTER TABLE vault_forks_anew RENAME TO vault_forks;
