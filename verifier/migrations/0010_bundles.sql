-- Bundles of registered releases, as they were published. What hosts are served is the newest one of a release that is in force. `sha384`:
-- over the whole bundle. Its bytes are in pieces, none of them longer than 1 MiB, so that one is written and served without being in a
-- commit, or in memory, as a whole; pieces whose bundle is not here are left of one that was not published to the end.
CREATE TABLE bundles (
    sha384          BLOB    PRIMARY KEY NOT NULL CHECK (length(sha384) = 48),
    manifest        BLOB    NOT NULL UNIQUE REFERENCES releases (manifest),
    size            INTEGER NOT NULL,
    operator        TEXT    NOT NULL,
    published_at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE bundle_pieces (
    bundle BLOB    NOT NULL CHECK (length(bundle) = 48),
    number INTEGER NOT NULL,
    bytes  BLOB    NOT NULL CHECK (length(bytes) <= 1048576),
    PRIMARY KEY (bundle, number)
) STRICT;
