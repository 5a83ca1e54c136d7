//! The database's versions: each by the statements that make it from the one before.

use sqlx::SqlSafeStr as _;
use sqlx::migrate::{Migration, MigrationType, Migrator};

/// Number, name and statements of each. What is in use somewhere is never changed: the database knows its digest.
const MIGRATIONS: &[(i64, &str, &str)] = &[
    (
        1,
        "initial",
        include_str!("../../migrations/0001_initial.sql"),
    ),
    (
        2,
        "evidence",
        include_str!("../../migrations/0002_evidence.sql"),
    ),
    (
        3,
        "releases",
        include_str!("../../migrations/0003_releases.sql"),
    ),
    (
        4,
        "hosts vaults",
        include_str!("../../migrations/0004_hosts_vaults.sql"),
    ),
    (
        5,
        "vault counters",
        include_str!("../../migrations/0005_vault_counters.sql"),
    ),
    (
        6,
        "card keys",
        include_str!("../../migrations/0006_card_keys.sql"),
    ),
    (
        8,
        "firmware",
        include_str!("../../migrations/0008_firmware.sql"),
    ),
    (
        9,
        "forks of keys",
        include_str!("../../migrations/0009_forks_of_keys.sql"),
    ),
    (
        10,
        "bundles",
        include_str!("../../migrations/0010_bundles.sql"),
    ),
    (
        11,
        "decisions",
        include_str!("../../migrations/0011_decisions.sql"),
    ),
    (
        12,
        "policies",
        include_str!("../../migrations/0012_policies.sql"),
    ),
    (
        13,
        "guest commands",
        include_str!("../../migrations/0013_guest_commands.sql"),
    ),
    (
        14,
        "evidence refused",
        include_str!("../../migrations/0014_evidence_refused.sql"),
    ),
];

/// All of them.
pub(super) fn all() -> Migrator {
    let migration = |(number, name, statements): &(i64, &'static str, &'static str)| {
        let (name, statements) = ((*name).into(), (*statements).into_sql_str());
        Migration::new(*number, name, MigrationType::Simple, statements, false)
    };
    Migrator::with_migrations(MIGRATIONS.iter().map(migration).collect())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[tokio::test]
    async fn every_file_is_one() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
        let files = Migrator::new(folder).await.unwrap();
        let shown = |of: &Migrator| -> Vec<_> {
            let shown = |it: &Migration| {
                let kind = (it.migration_type, it.no_tx);
                (
                    it.version,
                    it.description.clone(),
                    kind,
                    it.checksum.clone(),
                )
            };
            of.iter().map(shown).collect()
        };
        assert_eq!(shown(&all()), shown(&files));
    }
}
