//! Orders of operators to failover, and the tasks that wait for what comes of them.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use glommio::channels::local_channel::{LocalReceiver, LocalSender, new_bounded};

use super::Control;
use super::failover::{Event, Order};

/// What came of an order: a sentence.
pub(super) type Outcome = Result<String, String>;

/// The orders that were not answered yet.
#[derive(Default)]
pub(super) struct Orders {
    last: Cell<u64>,
    waiting: RefCell<Vec<(u64, LocalSender<Outcome>)>>,
}

impl Orders {
    pub fn answer(&self, ticket: u64, result: Outcome) {
        let mut waiting = self.waiting.borrow_mut();
        if let Some(index) = waiting.iter().position(|(waits, _)| *waits == ticket) {
            let (_, sender) = waiting.swap_remove(index);
            // Whoever asked may be gone.
            let _ = sender.try_send(result);
        }
    }
}

impl Control {
    /// Has failover carry out an order, and waits for what comes of it: everything in it has its bound.
    pub(super) async fn ordered(self: &Rc<Self>, order: Order) -> Outcome {
        let (sender, receiver): (_, LocalReceiver<Outcome>) = new_bounded(1);
        let ticket = self.orders.last.get() + 1;
        self.orders.last.set(ticket);
        self.orders.waiting.borrow_mut().push((ticket, sender));
        self.happened(Event::Ordered { ticket, order });
        receiver.recv().await.unwrap_or_else(|| Err("pgweir is ending".to_owned()))
    }
}
