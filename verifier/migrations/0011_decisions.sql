-- What administrators decided of who is refused: each in the transaction that did it, and none is changed or dropped. `why`: the
-- reason of a revocation; of a fork that was cleared, who had reported in.
CREATE TABLE decisions (
    number        INTEGER PRIMARY KEY AUTOINCREMENT,
    decided_at_ms INTEGER NOT NULL,
    operator      TEXT    NOT NULL,
    decision      TEXT    NOT NULL CHECK (decision IN ('revoked', 'reinstated', 'fork-cleared')),
    kind          TEXT    NOT NULL CHECK (kind IN ('host', 'guest', 'application', 'operator')),
    subject       TEXT    NOT NULL,
    why           TEXT
) STRICT;

-- What was taken back before is not known.
INSERT INTO decisions (decided_at_ms, operator, decision, kind, subject, why)
    SELECT created_at_ms, operator, 'revoked', kind, subject, reason
    FROM revocations ORDER BY created_at_ms, kind, subject;
