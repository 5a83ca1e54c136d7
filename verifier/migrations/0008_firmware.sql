-- What hosts with a TPM showed last of their own firmware: the log that it wrote, and the quoted PCRs that it replays to. `pcrs` here
-- and below: a PCR's number and the 48 bytes that it holds, one after another, in ascending order.
CREATE TABLE host_firmware (
    card        BLOB    PRIMARY KEY NOT NULL CHECK (length(card) = 32),
    pcrs        BLOB    NOT NULL CHECK (length(pcrs) % 49 = 0),
    log         BLOB    NOT NULL,
    shown_at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What firmware of hosts may have measured. `id`: SHA-384 over `pcrs`. A retired one stays, for whoever reads what it was.
CREATE TABLE firmware_references (
    id               BLOB    PRIMARY KEY NOT NULL CHECK (length(id) = 48),
    name             TEXT    NOT NULL,
    pcrs             BLOB    NOT NULL CHECK (length(pcrs) > 0 AND length(pcrs) % 49 = 0),
    operator         TEXT    NOT NULL,
    registered_at_ms INTEGER NOT NULL,
    retired_at_ms    INTEGER,
    retired_by       TEXT
) STRICT, WITHOUT ROWID;
