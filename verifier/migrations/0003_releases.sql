-- Releases that hosts may be booted from. A retired one stays, for the boots and verdicts that name it; registered again it is
-- in force again. `version` is for people: what decides is which releases are in force.
CREATE TABLE releases (
    manifest         BLOB    PRIMARY KEY NOT NULL CHECK (length(manifest) = 48),
    part             TEXT    NOT NULL CHECK (part IN ('base', 'bundle')),
    version          INTEGER NOT NULL,
    product          TEXT    NOT NULL,
    signer           BLOB    NOT NULL CHECK (length(signer) = 32),
    signer_spki      BLOB    NOT NULL,
    signed           BLOB    NOT NULL,
    operator         TEXT    NOT NULL,
    registered_at_ms INTEGER NOT NULL,
    retired_at_ms    INTEGER,
    retired_by       TEXT
) STRICT, WITHOUT ROWID;

-- Boots of hosts whose log was appraised. `phases`: the measurement register at the end of each phase, 48 bytes each.
CREATE TABLE host_boots (
    card           BLOB    NOT NULL CHECK (length(card) = 32),
    phases         BLOB    NOT NULL CHECK (length(phases) % 48 = 0),
    base           BLOB    NOT NULL REFERENCES releases (manifest),
    bundle         BLOB    NOT NULL REFERENCES releases (manifest),
    log            BLOB    NOT NULL,
    appraised_at_ms INTEGER NOT NULL,
    PRIMARY KEY (card, phases)
) STRICT, WITHOUT ROWID;
