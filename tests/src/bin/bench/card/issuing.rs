//! Certificates a second from a host's vault, against the same library with a key in this process.

use anyhow::{Context, Result, bail, ensure};
use bartizan_attestation::certificates::tcb_info::{self, TcbInfo};
use bartizan_attestation::csr::EphemeralKey;
use bartizan_attestation::identity::{CardId, GuestIdentity};
use bartizan_attestation::keys::{Purpose, VaultKind, VaultReply, VaultRequest};
use bartizan_attestation::measurement::Digest;
use bartizan_measuring::{Outcome, Samples, rounds};
use bartizan_tests::layout::Layout;
use bartizan_tests::stack::Users;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, CustomExtension, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P384_SHA384,
    SanType,
};
use rustls_pki_types::CertificateSigningRequestDer;

use super::Compared;
use super::callers::{callers, loops, together};
use super::vaults::{Vault, Wanted};

pub(super) const NAME: &str = "issue_software";
const WARM_UP: usize = 2;
const ROUNDS: usize = 21;
/// Certificates of a round.
const BATCH: u32 = 100;

pub(super) fn run() -> Result<Outcome> {
    let layout = Layout::new()?;
    let (vault, _verifier_vault, card) = enrolled(&layout)?;
    let csr = EphemeralKey::generate()?.csr()?;
    let guest = GuestIdentity {
        card,
        vm: [1; 16],
        boot: 1,
    };
    let request = VaultRequest::CertifyReportKey {
        csr: csr.clone(),
        guest,
        launch_measurement: Digest(vec![1; 48]),
        lifetime_s: 3600,
    };
    let links = (0..callers()?).map(|_| vault.link());
    let mut links: Vec<_> = links.collect::<Result<_>>()?;
    let bare = (0..loops()?).map(|_| Bare::new(&guest));
    let mut bare: Vec<_> = bare.collect::<Result<_>>()?;
    let (mut through, mut alone) = (Samples::default(), Samples::default());
    rounds(NAME, WARM_UP, ROUNDS, |counts| {
        let value = together(&mut links, BATCH, |link| {
            let reply = link.ask(&request)?;
            ensure!(matches!(reply, VaultReply::Certificates(_)), "{reply:?}");
            Ok(())
        })?;
        let reference = together(&mut bare, BATCH, |bare| bare.issue(&csr).map(drop))?;
        if counts {
            through.add(value);
            alone.add(reference);
        }
        Ok(())
    })?;
    let compared = Compared {
        case: NAME,
        unit: "certificates/s",
        value: (
            "through a host's vault: report key certified, two callers a core, each on a connection of its own",
            through,
        ),
        reference: (
            "rcgen and aws-lc in this process, a loop a core: request read and verified, the like issued",
            alone,
        ),
        goal: 0.8,
        rounds: ROUNDS,
    };
    Ok(compared.rates())
}

/// A host's vault with a card identity, the vault that certified it, and who the card is.
fn enrolled(layout: &Layout) -> Result<(Vault, Vault, CardId)> {
    let users = Users::find()?;
    let start = |name, role, account| {
        let wanted = Wanted {
            name,
            role,
            sealing: None,
            environment: Vec::new(),
            account,
        };
        Vault::start(layout, wanted)
    };
    let mut fleet = start("fleet", "verifier", users.verifier_vault)?;
    let mut host = start("host", "host", users.vault)?;
    let fleet_ca = fleet.certificates(&VaultRequest::CreateFleetCa {
        name: "bench".into(),
    })?;
    let VaultReply::Csr(csr) = host.ask(&VaultRequest::CreateCardIdentity)? else {
        bail!("no request for a card identity")
    };
    let chain = fleet.certificates(&VaultRequest::IssueHost {
        csr,
        name: "host".into(),
        vault: VaultKind::Software,
    })?;
    host.certificates(&VaultRequest::InstallCardIdentity {
        chain: chain.into_iter().map(Into::into).collect(),
        fleet_ca: fleet_ca.into_iter().next().context("a fleet CA")?,
    })?;
    let VaultReply::Description { keys, .. } = host.ask(&VaultRequest::Describe)? else {
        bail!("the vault does not describe itself")
    };
    let identity = keys.iter().find(|key| key.purpose == Purpose::CardIdentity);
    let card = CardId(*identity.context("an identity")?.id);
    Ok((host, fleet, card))
}

/// An issuer in this process.
struct Bare {
    issuer: Issuer<'static, KeyPair>,
    template: CertificateParams,
}

impl Bare {
    fn new(guest: &GuestIdentity) -> Result<Self> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384)?;
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let info = TcbInfo {
            vault: VaultKind::Software,
            launch_measurement: Some(Digest(vec![1; 48])),
            phases: Vec::new(),
        };
        let mut template = CertificateParams::default();
        template
            .distinguished_name
            .push(DnType::OrganizationName, "Bartizan");
        template
            .distinguished_name
            .push(DnType::CommonName, "measurer");
        let uri = format!("bartizan:measurer/{guest}");
        template.subject_alt_names = vec![SanType::URI(uri.try_into()?)];
        template.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        template.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        template.custom_extensions = vec![CustomExtension::from_oid_content(
            tcb_info::OID,
            info.encode()?,
        )];
        template.use_authority_key_identifier_extension = true;
        Ok(Self {
            issuer: Issuer::new(params, key),
            template,
        })
    }

    /// The certificate's length in bytes.
    fn issue(&self, csr: &[u8]) -> Result<usize> {
        // It verifies the request's signature.
        let mut request =
            CertificateSigningRequestParams::from_der(&CertificateSigningRequestDer::from(csr))?;
        request.params = self.template.clone();
        let certificate = request.signed_by(&self.issuer)?;
        Ok(certificate.der().len())
    }
}
