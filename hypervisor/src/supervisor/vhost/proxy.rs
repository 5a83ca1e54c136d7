//! The relay itself.

mod exchange;
mod wake;

use std::fs::File;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::{Devices, Link, LinkError, Message, RecordError, Recorded, Request};

/// Between two attempts to attach: doubled from the first to the last of these.
const RETRY: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// Protocol features that pass: MQ (0), REPLY_ACK (3), CONFIG (9). The others need requests that are not
/// relayed, or state that could not be repeated.
const PROTOCOL_FEATURES: u64 = 1 | 1 << 3 | 1 << 9;

/// Stands between QEMU and the devices process.
#[derive(Debug)]
pub struct Proxy {
    qemu: Link,
    devices: Devices,
    ram: File,
    recorded: Recorded,
    attached: Option<Link>,
    next_attempt: Instant,
    delay: Duration,
}

/// QEMU's end is of no further use; a back end's end never ends the relay.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// QEMU is gone, or sends what is no message.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// QEMU sends what must not be relayed.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// QEMU sends an answer.
    #[error("QEMU answers instead of asking")]
    Reversed,
}

impl Proxy {
    /// A relay for the guest whose RAM is `ram` (open for reading), with its device attached already.
    #[must_use]
    pub fn new(qemu: Link, devices: Devices, attached: Link, ram: File) -> Self {
        Self {
            qemu,
            devices,
            ram,
            recorded: Recorded::default(),
            attached: Some(attached),
            next_attempt: Instant::now(),
            delay: RETRY.0,
        }
    }

    /// Relays until QEMU's end is of no further use.
    pub async fn run(mut self) -> ProxyError {
        loop {
            match self.step().await {
                Ok(()) => {}
                Err(error) => return error,
            }
        }
    }

    async fn step(&mut self) -> Result<(), ProxyError> {
        tokio::select! {
            message = self.qemu.receive() => self.relay(message?).await,
            () = gone(&mut self.attached), if self.attached.is_some() => {
                tracing::warn!("the devices process is gone; the guest's device waits for a new one");
                self.lose().await;
                Ok(())
            }
            () = sleep_until(self.next_attempt), if self.attached.is_none() => {
                self.attach().await;
                Ok(())
            }
        }
    }

    async fn relay(&mut self, mut message: Message) -> Result<(), ProxyError> {
        if message.header.reply {
            return Err(ProxyError::Reversed);
        }
        self.recorded.record(&mut message, &self.ram)?;
        let answered = message.header.request.is_question() || message.header.need_reply;
        if !answered {
            if let Some(attached) = &mut self.attached
                && exchange::tell(attached, &message).await.is_err()
            {
                self.lose().await;
            }
            return Ok(());
        }
        let answer = self.answer(&message).await?;
        Ok(self.qemu.send(answer.header, &answer.payload, &[]).await?)
    }

    /// The back end's answer; or, while there is none, the record's; or else the next back end's.
    async fn answer(&mut self, message: &Message) -> Result<Message, ProxyError> {
        loop {
            if let Some(attached) = &mut self.attached {
                match exchange::ask(attached, message).await {
                    Ok(answer) => return Ok(self.kept(answer)?),
                    Err(error) => {
                        tracing::warn!(%error, "the devices process did not answer");
                        self.lose().await;
                    }
                }
            }
            if let Some(answer) = self.recorded.answer(message)? {
                return Ok(answer);
            }
            sleep_until(self.next_attempt).await;
            self.attach().await;
        }
    }

    /// The back end is of no further use. Nothing is said to QEMU, which may be stopping the guest for a snapshot, before it writes to
    /// the guest's RAM no more, and before it is noted that it may not have noted all.
    async fn lose(&mut self) {
        if let Some(attached) = self.attached.take()
            && !exchange::leave(attached).await
        {
            tracing::warn!("the devices process does not end the guest's device; it may go on for a while");
        }
        self.devices.lost();
    }

    /// An answer of the back end's as QEMU may see it.
    fn kept(&mut self, mut answer: Message) -> Result<Message, RecordError> {
        match answer.header.request {
            Request::GetRingBase => self.recorded.stopped(answer.ring()?),
            Request::GetProtocolFeatures => {
                answer.payload = (answer.number()? & PROTOCOL_FEATURES)
                    .to_ne_bytes()
                    .to_vec();
            }
            _ => {}
        }
        Ok(answer)
    }

    /// One attempt to attach and to bring the new back end to where the old one was.
    async fn attach(&mut self) {
        self.next_attempt = Instant::now() + self.delay;
        self.delay = (self.delay * 2).min(RETRY.1);
        let mut link = match self.devices.attach().await {
            Ok(link) => link,
            Err(error) => {
                tracing::debug!(%error, "not attached yet");
                return;
            }
        };
        // Devices attach none before the former one has ended, which may have gone on for as long as it did not answer.
        self.devices.lost();
        match exchange::bring_up(&mut link, &self.recorded).await {
            Ok(()) => {
                self.recorded.wakers().for_each(wake::wake);
                self.attached = Some(link);
                self.delay = RETRY.0;
                tracing::info!("the guest's device is attached again");
            }
            Err(error) => {
                tracing::warn!(%error, "the new devices process is unfit");
                self.attached = Some(link);
                self.lose().await;
            }
        }
    }
}

/// Waits until the back end closes its link, or says what nobody asked. Cancel safe.
async fn gone(attached: &mut Option<Link>) {
    if let Some(link) = attached {
        let _ = link.receive().await;
    }
}

#[cfg(test)]
mod tests;
