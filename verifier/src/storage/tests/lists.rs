//! Lists in pages.

use bartizan_attestation::keys::VaultKind;

use super::*;

#[tokio::test]
async fn a_list_of_hosts_goes_on_though_its_last_host_enrolled_anew() {
    let database = database().await;
    let storage = &database.storage;
    let host = |card: u8, name: &str| EnrolledHost {
        card: CardId([card; 32]),
        name: name.into(),
        operator: "ann".into(),
        enrolled_at_ms: 1,
        certificate: vec![card],
        card_key: [card; 32],
        vault: VaultKind::Software,
        tpm: None,
    };
    for (card, name) in [(1, "a"), (2, "b"), (3, "c")] {
        storage.add_host(&host(card, name)).await.unwrap();
    }
    let after_b = host(2, "b").cursor();
    storage.add_host(&host(2, "z")).await.unwrap();
    let page = storage.hosts(Some(after_b), WHOLE).await.unwrap();
    let names: Vec<_> = page.rows.iter().map(|host| host.name.as_str()).collect();
    assert_eq!(names, ["c", "z"]);
}

#[tokio::test]
async fn every_list_is_whole_in_pages_of_any_size() {
    let storage = database().await;
    let storage = &storage.storage;
    let subject = |number: u8| format!("{number}:{HOSTILE}");
    let mut due = [Vec::new(), Vec::new(), Vec::new()];
    for number in 0..40_u8 {
        let host = EnrolledHost {
            card: CardId([number; 32]),
            // Several of one name.
            name: format!("h{}", number / 7),
            operator: "ann".into(),
            enrolled_at_ms: 1,
            certificate: vec![number; 10],
            card_key: [number; 32],
            vault: VaultKind::Software,
            tpm: None,
        };
        storage.add_host(&host).await.unwrap();
        let application = format!("a{number:02}");
        let put = storage.put_profile(&application, "{}", "ann", 1).await;
        put.unwrap();
        let revocation = Revocation {
            kind: RevocationKind::Application,
            subject: subject(number),
            reason: "a test".into(),
            operator: "ann".into(),
            // Several at one time, the newest with the lowest numbers.
            created_at_ms: 100 - u64::from(number / 7),
        };
        storage.revoke(&revocation).await.unwrap();
        due[0].push(host.cursor().to_string());
        due[1].push(application);
        due[2].push(revocation.cursor().to_string());
    }
    due[2].sort_by_key(|cursor| {
        let cursor: RevocationCursor = cursor.parse().unwrap();
        let text = cursor.to_string();
        let (at_ms, subject) = text.split_once(':').unwrap();
        (
            std::cmp::Reverse(at_ms.parse::<u64>().unwrap()),
            subject.to_owned(),
        )
    });
    for limit in [
        PageLimit { rows: 1, ..WHOLE },
        PageLimit { rows: 17, ..WHOLE },
        PageLimit { bytes: 1, ..WHOLE },
        PageLimit {
            bytes: 1000,
            ..WHOLE
        },
        WHOLE,
    ] {
        let mut found = [Vec::new(), Vec::new(), Vec::new()];
        loop {
            let after = found[0].last().map(|last: &String| last.parse().unwrap());
            let page = storage.hosts(after, limit).await.unwrap();
            found[0].extend(page.rows.iter().map(|host| host.cursor().to_string()));
            if !page.more {
                break;
            }
        }
        loop {
            let after = found[1].last().cloned();
            let page = storage.profiles(after.as_deref(), limit).await.unwrap();
            found[1].extend(page.rows.into_iter().map(|summary| summary.application));
            if !page.more {
                break;
            }
        }
        loop {
            let after = found[2].last().map(|last: &String| last.parse().unwrap());
            let page = storage.revocations(after, limit).await.unwrap();
            found[2].extend(page.rows.iter().map(|one| one.cursor().to_string()));
            if !page.more {
                break;
            }
        }
        assert_eq!(found, due, "{limit:?}");
    }
    for wrong in ["", "1", "1:application", "x:application:a", "1:verdict:a"] {
        assert!(wrong.parse::<RevocationCursor>().is_err(), "{wrong}");
    }
}

#[tokio::test]
async fn verdicts_survive_reopening_and_are_listed_in_pages() {
    let database = database().await;
    let (log, _task) = VerdictLog::start(database.storage.clone(), for_ever());
    let mut records = tokio::task::JoinSet::new();
    for id in 10..60 {
        let log = log.clone();
        let application = if id % 2 == 0 { "even" } else { HOSTILE };
        let verdict = verdict(&id.to_string(), &guest(1), application);
        records.spawn(async move { log.record(guest(1), verdict).await.unwrap() });
    }
    assert!(
        records
            .join_all()
            .await
            .into_iter()
            .all(|outcome| outcome == Recorded::Durable)
    );
    let storage = Storage::open(&database.directory.path().join("v.db"))
        .await
        .unwrap();
    let mut filter = VerdictFilter {
        application: Some(HOSTILE.into()),
        guest: Some(guest(1).to_string()),
        ..VerdictFilter::default()
    };
    let twenty = PageLimit { rows: 20, ..WHOLE };
    let first = storage.verdicts(&filter, twenty).await.unwrap();
    assert!(first.more);
    let first = first.rows;
    assert_eq!(
        (first.len(), first[0].id.as_str(), first[19].id.as_str()),
        (20, "59", "21")
    );
    filter.after = Some(first[19].id.clone());
    let second = storage.verdicts(&filter, twenty).await.unwrap();
    assert!(!second.more);
    let second = second.rows;
    assert_eq!((second.len(), second[4].id.as_str()), (5, "11"));
    assert_eq!(
        storage.verdict("59").await.unwrap().unwrap(),
        kept(verdict("59", &guest(1), HOSTILE))
    );
    assert_eq!(storage.verdict(HOSTILE).await.unwrap(), None);
}
