//! How other threads speak to control: the one that started it, the one that waits for signals.

use std::sync::{Arc, mpsc};
use std::time::Duration;

use crossbeam_queue::ArrayQueue;

use super::bell::Bell;
use super::failover::Attempt;
use super::view::View;

/// Speaks to control from other threads. Nobody waits, except for a view.
#[derive(Clone)]
pub struct Handle {
    commands: Arc<ArrayQueue<Command>>,
    bell: Bell,
}

/// What they say.
pub(super) enum Command {
    Drain,
    End,
    /// A command that failover wanted has ended.
    Exited {
        attempt: Attempt,
        code: Option<i32>,
    },
    Reload,
    Stop,
    View(mpsc::SyncSender<View>),
}

impl Handle {
    /// A handle that wakes control with `bell`.
    pub(super) fn new(bell: Bell) -> Handle {
        Handle { commands: Arc::new(ArrayQueue::new(COMMANDS_MAX)), bell }
    }

    /// What was said, for control.
    pub(super) fn heard(&self) -> Option<Command> {
        self.commands.pop()
    }

    /// The state of everything now. Empty when control does not answer within [`VIEW_MAX`].
    pub fn view(&self) -> View {
        let (answer, answered) = mpsc::sync_channel(1);
        self.say(Command::View(answer));
        answered.recv_timeout(VIEW_MAX).unwrap_or_default()
    }

    /// Lets transactions finish, for as long as `shutdown_timeout` says, then ends. A second time: ends now.
    pub fn drain(&self) {
        self.say(Command::Drain);
    }

    /// Ends now.
    pub fn stop(&self) {
        self.say(Command::Stop);
    }

    /// Reads the configuration again.
    pub fn reload(&self) {
        self.say(Command::Reload);
    }

    /// Ends the thread itself.
    pub(super) fn end(&self) {
        while !self.say(Command::End) {
            std::thread::yield_now();
        }
    }

    /// Says how a command of failover has ended. Waits for room, for as long as there is somebody to say it to.
    pub(super) fn exited(&self, attempt: Attempt, code: Option<i32>) {
        while !self.say(Command::Exited { attempt, code }) && Arc::strong_count(&self.commands) > 1 {
            std::thread::sleep(ROOM_LOOK);
        }
    }

    /// False when too much waits already, which takes somebody who asks a thousand times faster than is answered.
    fn say(&self, command: Command) -> bool {
        let said = self.commands.push(command).is_ok();
        self.bell.ring();
        said
    }
}

/// Commands that may wait.
const COMMANDS_MAX: usize = 1024;

/// How often one who waits for room looks whether there is any.
const ROOM_LOOK: Duration = Duration::from_millis(10);

/// How long a view may take.
const VIEW_MAX: Duration = Duration::from_secs(2);
