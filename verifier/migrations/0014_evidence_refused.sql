-- Why evidence is not believed: NULL where it was verified, as it was received. What was received before was not looked into.
ALTER TABLE enclave_evidence ADD COLUMN refused TEXT;
UPDATE enclave_evidence SET refused = 'it was received before evidence was verified';
