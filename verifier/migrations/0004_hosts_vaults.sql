-- Which back end a host's vault has (`development`, `tpm2`, `pkcs11`), as the join code's operator says; what a TPM proved is
-- beside it. `endorsement`: SHA-256 of the EK's public area, for one TPM must not take the name of another's host over.
ALTER TABLE join_codes ADD COLUMN vault TEXT NOT NULL DEFAULT 'development';
ALTER TABLE join_codes ADD COLUMN another_tpm INTEGER NOT NULL DEFAULT 0;
ALTER TABLE hosts ADD COLUMN vault TEXT NOT NULL DEFAULT 'development';
ALTER TABLE hosts ADD COLUMN endorsement BLOB CHECK (length(endorsement) = 32);
-- SubjectPublicKeyInfo of the key that signs the TPM's quotes, DER.
ALTER TABLE hosts ADD COLUMN attestation_key BLOB;
