//! What a program may keep of root's rights.

use minicbor::encode::{self, Write};
use minicbor::{Decode, Decoder, Encode, Encoder, decode};

/// One of the capabilities that the launcher itself has: another it could give to nobody. Its name in a manifest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Capability {
    /// To give files away.
    Chown,
    /// To open files whatever their modes are.
    DacOverride,
    /// To signal other users' processes.
    Kill,
    /// To become other groups.
    Setgid,
    /// To keep capabilities from others.
    Setpcap,
    /// To become other users.
    Setuid,
}

/// There is no such capability, or the launcher has it not.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{0}` is no capability that a program can be given; expected {names}", names = names())]
pub struct UnknownCapability(String);

impl Capability {
    /// All, in the order of their names.
    pub const ALL: [Self; 6] = [
        Self::Chown,
        Self::DacOverride,
        Self::Kill,
        Self::Setgid,
        Self::Setpcap,
        Self::Setuid,
    ];

    /// Its name, as capabilities(7) has it without `CAP_`, in lower case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Chown => "chown",
            Self::DacOverride => "dac_override",
            Self::Kill => "kill",
            Self::Setgid => "setgid",
            Self::Setpcap => "setpcap",
            Self::Setuid => "setuid",
        }
    }

    /// The capability of that name.
    pub fn named(name: &str) -> Result<Self, UnknownCapability> {
        let mut all = Self::ALL.into_iter();
        all.find(|one| one.name() == name)
            .ok_or_else(|| UnknownCapability(name.chars().take(64).collect()))
    }
}

fn names() -> String {
    Capability::ALL.map(Capability::name).join(", ")
}

impl<C> Encode<C> for Capability {
    fn encode<W: Write>(
        &self,
        to: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        to.str(self.name())?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Capability {
    fn decode(from: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        Self::named(from.str()?).map_err(decode::Error::message)
    }
}
