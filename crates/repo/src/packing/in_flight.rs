//! Packs that are being written.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

/// Numbers packs as they take off, so that one can wait for all that started before a moment while others keep
/// starting.
pub(super) struct InFlight(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    /// All packs with lower numbers have landed.
    landed_below: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    next: u64,
    flying: BTreeSet<u64>,
}

/// Dropping it says that the pack has landed, well or not.
pub(super) struct Landing {
    shared: Arc<Shared>,
    number: u64,
}

impl InFlight {
    pub(super) fn new() -> Self {
        Self(Arc::new(Shared { state: Mutex::default(), landed_below: watch::Sender::new(0) }))
    }

    pub(super) fn take_off(&self) -> Landing {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        let number = state.next;
        state.next += 1;
        state.flying.insert(number);
        Landing { shared: Arc::clone(&self.0), number }
    }

    /// The number that the next pack will get.
    pub(super) fn next_ticket(&self) -> u64 {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner).next
    }

    /// Waits until all packs with lower numbers have landed.
    pub(super) async fn wait_until(&self, ticket: u64) {
        // The sender lives as long as we do, so that waiting cannot fail.
        let _ = self.0.landed_below.subscribe().wait_for(|landed_below| *landed_below >= ticket).await;
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.flying.remove(&self.number);
        let landed_below = state.flying.first().copied().unwrap_or(state.next);
        self.shared.landed_below.send_replace(landed_below);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[tokio::test]
    async fn one_waits_for_earlier_packs_and_not_for_later_ones() {
        let in_flight = InFlight::new();
        in_flight.wait_until(in_flight.next_ticket()).await;
        let (first, second) = (in_flight.take_off(), in_flight.take_off());
        let ticket = in_flight.next_ticket();
        let third = in_flight.take_off();
        drop(second);
        assert!(in_flight.wait_until(ticket).now_or_never().is_none());
        drop(first);
        in_flight.wait_until(ticket).await;
        assert!(in_flight.wait_until(in_flight.next_ticket()).now_or_never().is_none());
        drop(third);
        in_flight.wait_until(in_flight.next_ticket()).await;
    }
}
