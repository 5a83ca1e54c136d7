//! From bytes to the proof that an operator may have them done.

use super::{OperationRefusal, Order};
use crate::certificates::{FleetCa, Role, Subject, Usage, verify_chain};
use crate::cose::{MessageType, Unverified};
use crate::digest::sha256;
use crate::identity::CardId;

/// An order that an operator of this fleet signed, for whichever host and time. Made by [`SignedOrder::verify`] only.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SignedOrder {
    operator: String,
    role: Role,
    order: Order,
    sha256: [u8; 32],
}

/// An order that is this host's, in its window, of an operator whose role allows it. What remains for whoever does it: that it is
/// not done twice, and that the operator is not revoked. Made by [`SignedOrder::authorise`] only.
#[derive(Clone, Copy, Debug)]
pub struct AuthorisedOperation<'o>(&'o SignedOrder);

impl SignedOrder {
    /// Verifies signature and chain at a time in seconds since the Unix epoch, and reads the order.
    pub fn verify(signed: &[u8], ca: &FleetCa, at_s: u64) -> Result<Self, OperationRefusal> {
        let malformed = |error: &dyn std::error::Error| {
            let why = error.to_string();
            OperationRefusal::Malformed(why)
        };
        let message =
            Unverified::parse(signed, MessageType::Operation).map_err(|error| malformed(&error))?;
        let signer = verify_chain(message.chain(), ca, at_s, Usage::Operator)
            .map_err(|error| OperationRefusal::Signer(error.to_string()))?;
        let Subject::Operator { name, role } = signer.subject else {
            return Err(OperationRefusal::Signer("it is no operator's".into()));
        };
        let payload = message
            .verify(&signer.public_key)
            .map_err(|error| OperationRefusal::Signature(error.to_string()))?;
        Ok(Self {
            operator: name,
            role,
            order: Order::decode(&payload).map_err(|error| malformed(&error))?,
            sha256: sha256(signed),
        })
    }

    /// Checks that it is for this host, now, and within its operator's role.
    pub fn authorise(
        &self,
        host: CardId,
        now_s: u64,
    ) -> Result<AuthorisedOperation<'_>, OperationRefusal> {
        let order = &self.order;
        if order.host != host {
            return Err(OperationRefusal::OtherHost {
                named: order.host,
                this: host,
            });
        }
        let (issued_at, expires_at) = (order.issued_at, order.expires_at);
        if issued_at > now_s.saturating_add(Order::MAX_SKEW_S) {
            return Err(OperationRefusal::NotYetValid { issued_at, now_s });
        }
        match expires_at.checked_sub(issued_at) {
            Some(1..=Order::MAX_LIFETIME_S) => {}
            lifetime_s => return Err(OperationRefusal::Lifetime { lifetime_s }),
        }
        if expires_at <= now_s {
            return Err(OperationRefusal::Expired { expires_at, now_s });
        }
        let least = order.operation.least_role();
        if !self.role.includes(least) {
            return Err(OperationRefusal::Role {
                operator: self.operator.clone(),
                role: self.role.to_string(),
                operation: order.operation.name().into(),
                least: least.to_string(),
            });
        }
        Ok(AuthorisedOperation(self))
    }

    /// Who signed it.
    #[must_use]
    pub fn operator(&self) -> &str {
        &self.operator
    }

    /// What its operator may do.
    #[must_use]
    pub const fn role(&self) -> Role {
        self.role
    }

    /// The order.
    #[must_use]
    pub const fn order(&self) -> &Order {
        &self.order
    }

    /// SHA-256 over the signed message.
    #[must_use]
    pub const fn sha256(&self) -> [u8; 32] {
        self.sha256
    }
}

impl<'o> AuthorisedOperation<'o> {
    /// The order, and who signed it.
    #[must_use]
    pub const fn signed(self) -> &'o SignedOrder {
        self.0
    }
}
