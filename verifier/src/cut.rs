//! Ending a connection from within a request that it carries: also while its client takes nothing, when the server looks at neither
//! answer nor client.

use std::sync::Arc;

use tokio::sync::Notify;

/// Ends its connection. One a connection, given to each of its requests.
#[derive(Clone, Debug, Default)]
pub struct Cut(Arc<Notify>);

impl Cut {
    /// Ends the connection at once, whatever was to be sent on it.
    pub(crate) fn cut(&self) {
        self.0.notify_one();
    }

    /// Returns once somebody wants it.
    pub async fn wanted(&self) {
        self.0.notified().await;
    }

    /// Whether both are the same connection's.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}
