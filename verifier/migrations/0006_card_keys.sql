-- The key that a host's card identity has now, by the SHA-256 over its SubjectPublicKeyInfo. The first one is the card's id.
ALTER TABLE hosts ADD COLUMN card_key BLOB CHECK (length(card_key) = 32);
UPDATE hosts SET card_key = card;
CREATE INDEX hosts_by_card_key ON hosts (card_key);

-- Keys that another came after. What they certified is accepted until then; they themselves never come back, in this card or another,
-- so that no row is dropped.
CREATE TABLE superseded_card_keys (
    card_key          BLOB    PRIMARY KEY NOT NULL CHECK (length(card_key) = 32),
    card              BLOB    NOT NULL CHECK (length(card) = 32),
    successor         BLOB    NOT NULL CHECK (length(successor) = 32),
    superseded_at_ms  INTEGER NOT NULL,
    accepted_until_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
