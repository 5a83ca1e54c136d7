use std::thread;

use bartizan_boot::Phase;

use super::*;

/// A vault that answers so many steps, extends an event at each, and is killed at the one after. Answers what it heard.
fn answering(steps: usize) -> (UnixStream, thread::JoinHandle<Vec<VaultStep>>) {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let vault = thread::spawn(move || {
        let mut heard = Vec::new();
        let mut extended = 0;
        while let Ok(step) = read_frame(&mut theirs, VaultStep::MAX_FRAME) {
            heard.push(step);
            if heard.len() > steps {
                break;
            }
            extended += 1;
            let answer = VaultAnswer::Done { extended };
            write_frame(&mut theirs, &answer, VaultStep::MAX_FRAME).unwrap();
        }
        heard
    });
    (ours, vault)
}

fn begin(extended: u32) -> VaultStep {
    VaultStep::Begin {
        release_key: b"key".to_vec(),
        extended,
    }
}

#[test]
fn each_vault_is_told_that_the_boot_was_stopped_until_one_has_heard_it_and_after() {
    let (card, devices) = (
        VaultStep::Complete(Phase::Card),
        VaultStep::Complete(Phase::Devices),
    );
    let refusal = Refusal::Manifest("stopped".into());
    let fail = VaultStep::Fail(refusal.clone());
    let away = |told| matches!(told, Err(VaultError::Away(_)));

    let (link, first) = answering(2);
    let mut vault = Vault::new(link);
    vault.begin(b"key".to_vec()).unwrap();
    vault.tell(card.clone()).unwrap();
    assert!(away(vault.tell(devices.clone())));
    assert!(away(vault.stop(refusal)));
    let heard = first.join().unwrap();
    assert_eq!(heard, [begin(0), card.clone(), devices]);

    // Killed when it is told again: it had not heard of the stop.
    let (link, second) = answering(1);
    assert!(away(vault.tell_again(link)));
    assert_eq!(second.join().unwrap(), [begin(2), card.clone()]);

    let (link, third) = answering(3);
    vault.tell_again(link).unwrap();
    // What it has extended for the stop counts from then on.
    let (link, fourth) = answering(3);
    vault.tell_again(link).unwrap();
    drop(vault);
    assert_eq!(
        third.join().unwrap(),
        [begin(2), card.clone(), fail.clone()]
    );
    assert_eq!(fourth.join().unwrap(), [begin(3), card, fail]);
}

/// Whatever comes then would be an answer to the step before.
#[test]
fn nothing_is_taken_for_an_answer_after_one_that_did_not_come() {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let mut vault = Vault::new(ours);
    let vaults = thread::spawn(move || {
        let _: VaultStep = read_frame(&mut theirs, VaultStep::MAX_FRAME).unwrap();
        // No answer of this link's.
        write_frame(&mut theirs, &"what?", VaultStep::MAX_FRAME).unwrap();
        let late = VaultAnswer::Done { extended: 1 };
        let _ = write_frame(&mut theirs, &late, VaultStep::MAX_FRAME);
        read_frame::<VaultStep>(&mut theirs, VaultStep::MAX_FRAME)
    });
    let told = vault.begin(b"key".to_vec());
    assert!(matches!(told, Err(VaultError::Away(_))));
    let told = vault.tell(VaultStep::Booted);
    assert!(matches!(told, Err(VaultError::Away(_))));
    drop(vault);
    vaults.join().unwrap().unwrap_err();
}
