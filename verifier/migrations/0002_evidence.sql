-- Of every verdict a summary is kept for ever, in `verdicts`; reports and tokens are in a table of
-- their own, from which they are dropped by the retention policy.

ALTER TABLE verdicts ADD COLUMN report_sha256 BLOB CHECK (length(report_sha256) = 32);
-- When report and token were dropped; NULL while they are kept.
ALTER TABLE verdicts ADD COLUMN evidence_dropped_at_ms INTEGER;

-- `number` is the order in which they were written, whatever the clock said. `vm` is the guest's URN
-- without its boot counter.
CREATE TABLE evidence (
    number       INTEGER PRIMARY KEY AUTOINCREMENT,
    verdict      TEXT    NOT NULL UNIQUE REFERENCES verdicts (id),
    vm           TEXT    NOT NULL,
    host         BLOB    NOT NULL CHECK (length(host) = 32),
    affirming    INTEGER NOT NULL CHECK (affirming IN (0, 1)),
    judged_at_ms INTEGER NOT NULL,
    report       BLOB    NOT NULL,
    token        TEXT    NOT NULL
) STRICT;

CREATE INDEX evidence_by_vm ON evidence (vm, affirming, number);
CREATE INDEX evidence_by_host ON evidence (host, affirming, number);
CREATE INDEX evidence_by_age ON evidence (affirming, judged_at_ms);

INSERT INTO evidence (verdict, vm, host, affirming, judged_at_ms, report, token)
    SELECT id, rtrim(rtrim(guest, '0123456789'), ':'), host, status = 'affirming', judged_at_ms,
           report, token
    FROM verdicts ORDER BY id;

ALTER TABLE verdicts DROP COLUMN report;
ALTER TABLE verdicts DROP COLUMN token;
