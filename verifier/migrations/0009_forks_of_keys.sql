-- Who had a card identity key superseded; unknown of those before.
ALTER TABLE superseded_card_keys ADD COLUMN address TEXT;

-- A fork can be found by a key that names two successors, too: no machine has said its name then.
CREATE TABLE vault_forks_anew (
    card             BLOB    NOT NULL PRIMARY KEY CHECK (length(card) = 32),
    of_key           INTEGER NOT NULL CHECK (of_key IN (0, 1)),
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
    SELECT card, 0, former_machine, former_boot, former_address, former_at_ms, machine, boot, address, found_at_ms
    FROM vault_forks;
DROP TABLE vault_forks;
ALTER TABLE vault_forks_anew RENAME TO vault_forks;
