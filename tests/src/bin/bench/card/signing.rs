//! Signatures a second through a vault, against the bare primitive of the same kind of token in a loop.

use anyhow::{Context, Result, ensure};
use bartizan_attestation::keys::{Purpose, VaultReply, VaultRequest};
use bartizan_measuring::{Outcome, Samples, rounds};
use bartizan_tests::layout::Layout;
use bartizan_tests::maker::Maker;
use bartizan_tests::stack::Users;
use bartizan_tests::token::{Token, Tpm};

use super::Compared;
use super::callers::{callers, loops, together};
use super::primitives::{self, Primitive};
use super::vaults::{Vault, Wanted};

const WARM_UP: usize = 2;
const ROUNDS: usize = 21;

pub(super) struct Case {
    pub(super) name: &'static str,
    reference: &'static str,
    open: fn(&Layout) -> Result<Opened>,
    bare: fn(&Opened) -> Result<Primitives>,
    /// Signatures of a round.
    batch: u32,
    goal: f64,
}

/// A vault, and the device that has its keys.
struct Opened {
    vault: Vault,
    tpm: Option<Tpm>,
    token: Option<Token>,
}

/// What is held against it.
type Primitives = Vec<Box<dyn Primitive>>;

pub(super) const CASES: &[Case] = &[
    Case {
        name: "sign_software",
        reference: "aws-lc's ECDSA P-384 with keys in this process, a loop a core",
        open: software,
        bare: in_memory,
        batch: 1000,
        goal: 0.8,
    },
    Case {
        name: "sign_tpm2",
        reference: "TPM2_Sign with a loaded P-384 key without a policy, in a loop, on the vault's swtpm",
        open: tpm2,
        bare: in_tpm,
        batch: 40,
        goal: 0.9,
    },
    Case {
        name: "sign_pkcs11",
        reference: "C_Sign with a P-384 key that was found before, in a loop, on the vault's SoftHSM2 token",
        open: pkcs11,
        bare: in_token,
        batch: 100,
        goal: 0.9,
    },
];

impl Case {
    pub(super) fn run(&self) -> Result<Outcome> {
        let layout = Layout::new()?;
        let mut opened = (self.open)(&layout)?;
        let vault = &mut opened.vault;
        vault.certificates(&VaultRequest::CreateFleetCa {
            name: "bench".into(),
        })?;
        let chain = vault.certificates(&VaultRequest::RotateTlsServer {
            names: vec!["bench.test".into()],
            lifetime_s: 3600,
        })?;
        // Once the vault has its keys: to make some it takes all the room that a TPM has.
        let mut primitives = (self.bare)(&opened)?;
        let message = certificate_verify();
        let request = VaultRequest::SignTls {
            purpose: Purpose::TlsServer,
            certificate: chain.into_iter().next().context("a leaf")?,
            message: message.clone(),
        };
        let links = (0..callers()?).map(|_| opened.vault.link());
        let mut links: Vec<_> = links.collect::<Result<_>>()?;
        let (mut through, mut bare) = (Samples::default(), Samples::default());
        rounds(self.name, WARM_UP, ROUNDS, |counts| {
            let value = together(&mut links, self.batch, |link| {
                let reply = link.ask(&request)?;
                ensure!(matches!(reply, VaultReply::Signature(_)), "{reply:?}");
                Ok(())
            })?;
            let reference = together(&mut primitives, self.batch, |primitive| {
                primitive.sign(&message)
            })?;
            if counts {
                through.add(value);
                bare.add(reference);
            }
            Ok(())
        })?;
        let compared = Compared {
            case: self.name,
            unit: "signatures/s",
            value: (
                "through the vault, two callers a core, each on a connection of its own, typed purpose checked",
                through,
            ),
            reference: (self.reference, bare),
            goal: self.goal,
            rounds: ROUNDS,
        };
        Ok(compared.rates())
    }
}

/// What a vault's TLS key signs, and nothing else (RFC 8446 section 4.4.3).
fn certificate_verify() -> Vec<u8> {
    let context = b"TLS 1.3, server CertificateVerify\0".as_slice();
    [&[0x20; 64], context, &[7; 48]].concat()
}

fn wanted(name: &str) -> Result<Wanted<'_>> {
    Ok(Wanted {
        name,
        role: "verifier",
        sealing: None,
        environment: Vec::new(),
        account: Users::find()?.verifier_vault,
    })
}

fn software(layout: &Layout) -> Result<Opened> {
    Ok(Opened {
        vault: Vault::start(layout, wanted("software")?)?,
        tpm: None,
        token: None,
    })
}

fn tpm2(layout: &Layout) -> Result<Opened> {
    let tpm = Tpm::new(&layout.path("tpm"), &Maker::new(layout, "maker")?)?;
    let wanted = Wanted {
        sealing: Some(tpm.sealing()),
        ..wanted("tpm2")?
    };
    Ok(Opened {
        vault: Vault::start(layout, wanted)?,
        tpm: Some(tpm),
        token: None,
    })
}

fn pkcs11(layout: &Layout) -> Result<Opened> {
    let account = Users::find()?.verifier_vault;
    let token = Token::new(&layout.path("token"), account)?;
    let wanted = Wanted {
        sealing: Some(token.sealing()?),
        environment: vec![token.variable()?],
        ..wanted("pkcs11")?
    };
    Ok(Opened {
        vault: Vault::start(layout, wanted)?,
        tpm: None,
        token: Some(token),
    })
}

fn in_memory(_: &Opened) -> Result<Primitives> {
    // Nothing but the cores bounds either.
    let keys = (0..loops()?).map(|_| Ok(Box::new(primitives::Software::generate()?) as _));
    keys.collect()
}

fn in_tpm(opened: &Opened) -> Result<Primitives> {
    let tpm = opened.tpm.as_ref().context("a TPM")?;
    Ok(vec![Box::new(primitives::TpmKey::create(&tpm.tcti())?)])
}

fn in_token(opened: &Opened) -> Result<Primitives> {
    let token = opened.token.as_ref().context("a token")?;
    Ok(vec![Box::new(primitives::TokenKey::generate(token)?)])
}
