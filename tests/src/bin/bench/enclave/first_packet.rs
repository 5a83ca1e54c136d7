//! What the first packet of a flow waits for: a decision of the enclave's, against a ping over the same link. Both pass TLS, the keeper, the
//! emulated port, and the enclave's program; only the one is decided.

use std::fs::{self, Permissions};
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail, ensure};
use bartizan_attestation::host::{
    FROM_ENCLAVE_FRAME, FromEnclave, RunningGuest, TO_ENCLAVE_FRAME, ToEnclave,
};
use bartizan_channel::{EnclaveConnector, TlsStream};
use bartizan_local::flow::{Direction, Flow, FromDevices, Guest, Question, ToDevices};
use bartizan_local::{aio, decode, encode};
use bartizan_measuring::{Better, Outcome, Part, Samples, averaged, rounds};
use bartizan_tests::network::{WEB, WEB_6};
use bartizan_tests::stack::{GuestSpec, Stack};
use serde_json::json;
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::Builder;
use tokio::time::timeout;
use uuid::Uuid;

use super::{SUITE, hypervisor};

pub(super) const NAME: &str = "first_packet";
const WARM_UP: usize = 2;
const ROUNDS: usize = 31;
/// Of a round.
const BATCH: u32 = 20;
/// How long the enclave may take to open its link, or to answer.
const PATIENCE: Duration = Duration::from_secs(60);
const TCP: u8 = 6;
const HTTP: u16 = 80;

pub(super) fn run(stack: &mut Stack) -> Result<Outcome> {
    stack.apply(
        1,
        &json!([{ "name": "serve", "effect": "allow",
            "network": { "direction": "ingress", "protocols": ["tcp"], "ports": [HTTP] } }]),
    )?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let mut link = runtime.block_on(Link::in_place_of_hypervisor(stack))?;
    let (mut decided, mut pinged) = (Samples::default(), Samples::default());
    rounds(NAME, WARM_UP, ROUNDS, |counts| {
        let value = averaged(BATCH, || runtime.block_on(link.decide()))?;
        let reference = averaged(BATCH, || runtime.block_on(link.ping()))?;
        if counts {
            decided.add(value);
            pinged.add(reference);
        }
        Ok(())
    })?;
    drop(link);
    stack.host.hypervisor.start_again()?;
    let [value, reference_value] = [&decided, &pinged].map(|samples| samples.median() * 1e3);
    Ok(Outcome {
        suite: SUITE,
        case: NAME,
        value,
        unit: "ms",
        reference: "a ping over the same link: TLS, keeper, virtio-serial port, the enclave's program",
        reference_value,
        ratio: value / reference_value,
        better: Better::Lower,
        goal: 1.5,
        rounds: ROUNDS,
        spread: decided.spread(),
        parts: vec![Part {
            name: "the decision, and longer messages".into(),
            milliseconds: value - reference_value,
            counted: false,
        }],
    })
}

/// The hypervisor's link to the enclave, at which this program is.
struct Link {
    tls: TlsStream<UnixStream>,
    guest: Guest,
    asked: u64,
}

impl Link {
    /// Takes the hypervisor's place, which is killed, and tells of one guest, which does not run.
    async fn in_place_of_hypervisor(stack: &mut Stack) -> Result<Self> {
        let host = &mut stack.host;
        let vm = Uuid::new_v4();
        let record = host.record(
            &GuestSpec::small("first").in_network("web", (WEB, WEB_6)),
            vm,
        )?;
        let identity = hypervisor::identity(host)?;
        let guest = hypervisor::next_boot(host, vm)?;
        host.hypervisor.kill()?;
        let socket = host.layout.path("run/hypervisor/enclave.sock");
        fs::remove_file(&socket)?;
        let listener = UnixListener::bind(&socket)?;
        fs::set_permissions(&socket, Permissions::from_mode(0o666))?;
        let connector = EnclaveConnector::uncertified(move || Arc::clone(&identity))?;
        let accepted = timeout(PATIENCE, listener.accept()).await;
        let (stream, _) = accepted.context("the enclave opens no link")??;
        let (tls, _) = timeout(PATIENCE, connector.connect(stream)).await??;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
        let mut link = Self {
            tls,
            guest: Guest {
                vm: guest.vm,
                boot: guest.boot,
            },
            asked: 0,
        };
        let running = RunningGuest {
            guest,
            record: fs::read(record)?,
            ordered_at_s: now.as_secs(),
        };
        link.say(&ToEnclave::Runs(running)).await?;
        link.say(&ToEnclave::AllTold).await?;
        link.say(&ToEnclave::DevicesThere).await?;
        Ok(link)
    }

    /// Has a flow decided that is no other's.
    async fn decide(&mut self) -> Result<()> {
        self.asked += 1;
        let [_, _, high, low] = u32::try_from(self.asked)?.to_be_bytes();
        let question = Question {
            number: self.asked,
            guest: self.guest,
            flow: Flow {
                direction: Direction::Ingress,
                protocol: TCP,
                peer: IpAddr::V4(Ipv4Addr::new(192, 0, high, low)),
                port: Some(HTTP),
                icmp_type: None,
                outside: false,
            },
            since_s: 0,
        };
        let said = encode(&FromDevices::Question(question));
        self.say(&ToEnclave::OfDevices(said.into())).await?;
        loop {
            let FromEnclave::ForDevices(bytes) = self.hear().await? else {
                bail!("an answer to no ping");
            };
            // What it says of epochs, and of what may begin without it, is devices'.
            if let ToDevices::Verdict(verdict) = decode(&bytes)? {
                ensure!(verdict.number == self.asked, "another question's answer");
                ensure!(verdict.allowed, "not allowed: {}", verdict.reason);
                return Ok(());
            }
        }
    }

    /// Has it say that it is there.
    async fn ping(&mut self) -> Result<()> {
        self.say(&ToEnclave::Ping).await?;
        // What it tells devices in advance may come as late as this.
        while self.hear().await? != FromEnclave::Pong {}
        Ok(())
    }

    async fn say(&mut self, saying: &ToEnclave) -> Result<()> {
        Ok(aio::write_frame(&mut self.tls, saying, TO_ENCLAVE_FRAME).await?)
    }

    async fn hear(&mut self) -> Result<FromEnclave> {
        let hearing = aio::read_frame(&mut self.tls, FROM_ENCLAVE_FRAME);
        Ok(timeout(PATIENCE, hearing).await??)
    }
}
