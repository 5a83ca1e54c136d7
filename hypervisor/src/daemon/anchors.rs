//! The fleet CA that the configuration names, or the one that took its place: it is followed over cross-certificates, which the card
//! tells. The card's word is not believed, and not kept: the next daemon begins with the configuration's again, and asks at once.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bartizan_attestation::certificates::{FleetCa, Lineage, LinkedCa};
use tokio::sync::Mutex;

use super::link::{CardLink, LinkError};
use crate::clock::unix_now;

/// How soon the card is asked again where it did not answer, at first and at most.
const RETRY: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));

/// The trust anchor of this daemon.
#[derive(Debug)]
pub(super) struct Anchors {
    card: CardLink,
    /// Held for as long as it takes to look at it, or to put another one in its place.
    known: RwLock<LinkedCa>,
    one_at_a_time: Mutex<()>,
}

impl Anchors {
    pub(super) fn new(named: &FleetCa, card: CardLink) -> Self {
        Self {
            card,
            known: RwLock::new(LinkedCa::alone(named)),
            one_at_a_time: Mutex::default(),
        }
    }

    /// The CA that is trusted, and what it leads to as far as that is known.
    pub(super) fn ca(&self) -> Arc<FleetCa> {
        Arc::clone(self.known().ca())
    }

    fn known(&self) -> LinkedCa {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.clone()
    }

    /// Follows to the present one of those that the card tells, if the one that is trusted leads there: what former ones certified is
    /// good until their links end, and no longer.
    pub(super) async fn learn(&self, told: &Lineage) {
        // As nearly always: nobody is waited for, and no signature verified.
        if *self.known().lineage().as_ref() == *told {
            return;
        }
        let _turn = self.one_at_a_time.lock().await;
        let known = self.known();
        match known.rolled(told, unix_now()) {
            Ok(None) => {}
            Ok(Some(rolled)) => {
                let (former, present) = (known.ca(), rolled.ca());
                if present.der() != former.der() {
                    tracing::warn!(
                        ?former,
                        ?present,
                        "the fleet's new CA is trusted; set `fleet_ca` of the configuration to it"
                    );
                }
                *self.known.write().unwrap_or_else(PoisonError::into_inner) = rolled;
            }
            Err(error) => {
                tracing::warn!(%error, trusted = ?known.ca(), "the card's fleet CAs are not followed");
            }
        }
    }

    /// Asks the card until it has answered once: without it a former CA counts for longer than its link.
    pub(super) async fn ask_until_answered(&self) {
        let mut delay = RETRY.0;
        while let Err(error) = self.ask().await {
            tracing::debug!(%error, "whether the fleet CA was replaced is not known; trying again");
            tokio::time::sleep(delay).await;
            delay = (delay * 2).min(RETRY.1);
        }
    }

    /// Asks the card.
    pub(super) async fn ask(&self) -> Result<(), LinkError> {
        self.learn(&self.card.host().await?.fleet_cas).await;
        Ok(())
    }

    /// The same where the card may be away.
    pub(super) async fn ask_if_there(&self) {
        if let Err(error) = self.ask().await {
            tracing::warn!(%error, "whether the fleet CA was replaced is not known");
        }
    }
}

#[cfg(test)]
mod tests {
    use bartizan_attestation::certificates::{FormerFleetCa, Usage};
    use bartizan_attestation::csr::EphemeralKey;
    use bartizan_attestation::host::{CardReply, CardRequest, HostDescription, MAX_FRAME};
    use bartizan_attestation::identity::CardId;
    use bartizan_attestation::keys::VaultKind;
    use bartizan_attestation::measurement::Digest;
    use bartizan_local::aio;
    use rcgen::{
        BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa,
        KeyUsagePurpose, date_time_ymd,
    };
    use tokio::net::UnixListener;

    use super::*;

    type Ca = CertifiedIssuer<'static, EphemeralKey>;

    /// How long what waits for nobody may take.
    const DEADLINE: Duration = Duration::from_secs(10);

    fn params() -> CertificateParams {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params
    }

    fn cross(subject: &Ca, issuer: &Ca, believed: Vec<&[u64]>, until: i32) -> Vec<u8> {
        let mut params = params();
        params.extended_key_usages = (believed.into_iter())
            .map(|arcs| ExtendedKeyUsagePurpose::Other(arcs.to_vec()))
            .collect();
        params.not_after = date_time_ymd(until, 1, 1);
        let cross = params.signed_by(subject.key(), issuer).unwrap();
        cross.der().to_vec()
    }

    /// Former CAs, whose links end in that year, and the present one.
    fn lineage(cas: &[Ca], until: i32) -> Lineage {
        let former = |two: &[Ca]| FormerFleetCa {
            certificate: two[0].der().to_vec().into(),
            new_with_old: cross(&two[1], &two[0], Vec::new(), 4000).into(),
            old_with_new: cross(&two[0], &two[1], Usage::of_former_ca(), until).into(),
        };
        Lineage {
            present: cas.last().unwrap().der().to_vec().into(),
            former: cas.windows(2).map(former).collect(),
        }
    }

    fn line(count: usize) -> Vec<Ca> {
        let ca = |_| CertifiedIssuer::self_signed(params(), EphemeralKey::generate().unwrap());
        (0..count).map(|at| ca(at).unwrap()).collect()
    }

    fn pin(ca: &Ca) -> FleetCa {
        FleetCa::from_der(ca.der()).unwrap()
    }

    fn naming(ca: &Ca) -> Anchors {
        Anchors::new(&pin(ca), CardLink::new("/nonexistent".into()))
    }

    fn knows(anchors: &Anchors, ca: &Ca) -> bool {
        let name = Digest(pin(ca).sha256().to_vec()).to_string();
        anchors.ca().named(&name, unix_now()).is_some()
    }

    #[tokio::test]
    async fn a_former_ca_counts_for_as_long_as_its_link() {
        let cas = line(2);
        for (until, counts) in [(4000, true), (2020, false)] {
            let anchors = naming(&cas[0]);
            anchors.learn(&lineage(&cas, until)).await;
            assert_eq!(knows(&anchors, &cas[0]), counts, "until {until}");
            assert!(knows(&anchors, &cas[1]));
        }
    }

    #[tokio::test]
    async fn a_ca_is_followed_for_more_rotations_than_are_remembered() {
        let cas = line(2 * (1 + Lineage::MAX_FORMER));
        let anchors = naming(&cas[0]);
        for last in 1..=cas.len() {
            let oldest = last.saturating_sub(1 + Lineage::MAX_FORMER);
            anchors.learn(&lineage(&cas[oldest..last], 4000)).await;
            assert_eq!(anchors.ca().sha256(), pin(&cas[last - 1]).sha256());
        }
        // Nor back.
        anchors.learn(&lineage(&cas[..1], 4000)).await;
        anchors.learn(&lineage(&line(2), 4000)).await;
        let present = pin(cas.last().unwrap());
        assert_eq!(anchors.ca().sha256(), present.sha256());
    }

    /// Each of a host's guests asks for the CAs, and is told the same ones.
    #[tokio::test]
    async fn what_is_known_is_verified_once() {
        let cas = line(2);
        let anchors = naming(&cas[0]);
        let told = lineage(&cas, 4000);
        anchors.learn(&told).await;
        let known = anchors.ca();
        // Nor is anybody waited for who verifies others.
        let turn = anchors.one_at_a_time.lock().await;
        let learnt = tokio::time::timeout(DEADLINE, anchors.learn(&told)).await;
        learnt.expect("it is waited for");
        assert!(Arc::ptr_eq(&known, &anchors.ca()));
        drop(turn);
        // Another answer is looked at.
        let mut next = cas;
        next.extend(line(1));
        anchors.learn(&lineage(&next, 4000)).await;
        assert_eq!(anchors.ca().sha256(), pin(&next[2]).sha256());
    }

    /// However long it takes to verify what one was told, others go on with what is known.
    #[tokio::test]
    async fn what_is_known_is_told_while_something_is_verified() {
        let cas = line(2);
        let anchors = naming(&cas[0]);
        let turn = anchors.one_at_a_time.lock().await;
        let told = lineage(&cas, 4000);
        let mut learning = std::pin::pin!(anchors.learn(&told));
        tokio::select! {
            biased;
            () = &mut learning => panic!("two at a time"),
            () = std::future::ready(()) => {}
        }
        assert_eq!(anchors.ca().sha256(), pin(&cas[0]).sha256());
        drop(turn);
        learning.await;
        assert_eq!(anchors.ca().sha256(), pin(&cas[1]).sha256());
    }

    /// A card that begins later than the daemon, as when a host is booted.
    #[tokio::test]
    async fn the_card_is_asked_until_it_answers() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("card.sock");
        let cas = line(2);
        let anchors = Anchors::new(&pin(&cas[0]), CardLink::new(socket.clone()));
        let told = lineage(&cas, 2020);
        let card = async {
            let listener = UnixListener::bind(&socket).unwrap();
            // Breaks off once, then answers; nobody asks it any more.
            drop(listener.accept().await.unwrap());
            let (mut link, _) = listener.accept().await.unwrap();
            let asked = aio::read_frame(&mut link, MAX_FRAME).await.unwrap();
            assert!(matches!(asked, CardRequest::Describe));
            let host = CardReply::Host(HostDescription {
                card: CardId([1; 32]),
                vault: VaultKind::Software,
                chain: Vec::new(),
                fleet_cas: told,
                token_certificates: Vec::new(),
            });
            aio::write_frame(&mut link, &host, MAX_FRAME).await.unwrap();
        };
        let both = async { tokio::join!(anchors.ask_until_answered(), card) };
        tokio::time::timeout(DEADLINE, both).await.unwrap();
        assert_eq!(anchors.ca().sha256(), pin(&cas[1]).sha256());
        assert!(!knows(&anchors, &cas[0]), "the former one's link has ended");
    }
}
