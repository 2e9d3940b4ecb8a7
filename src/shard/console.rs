//! What pgweir answers by itself: the admin console, `SHOW pool_…` in any database, and small things that need no server.

use crate::door::Answer;
use crate::session::{Order, Statement};
use crate::wire::backend::{
    BIND_COMPLETE, CLOSE_COMPLETE, EMPTY_QUERY, NO_DATA, PARSE_COMPLETE, Report, TransactionStatus,
    put_command_complete, put_row, put_row_description,
};
use crate::wire::{Sqlstate, build};

use super::relay::Relay;

impl Relay {
    /// Answers the collected frames, none of which needs a server.
    pub(super) async fn answer_batch(&mut self) {
        let batch = std::mem::take(&mut self.batch);
        self.batch_bytes = 0;
        self.batch_want = crate::session::Want::Nothing;
        for (order, frame) in batch {
            if self.skipping && !matches!(order, Order::Sync) {
                continue;
            }
            self.answer(order, &frame).await;
        }
        self.asked = None;
    }

    /// Answers the frame that waited for the server to answer all before it.
    pub(super) async fn answer_deferred(&mut self) {
        if let Some(deferred) = self.deferred.take()
            && !self.ignored()
        {
            let (order, frame) = *deferred;
            self.answer(order, &frame).await;
            self.asked = None;
            if self.releasable() {
                self.hand_back();
            }
        }
    }

    async fn answer(&mut self, order: Order, frame: &[u8]) {
        let status = self.session.status();
        match order {
            Order::Sync => {
                self.skipping = false;
                match self.listening.is_some() && status == TransactionStatus::Idle {
                    true => self.ready_told_later(),
                    false => self.say_ready(status),
                }
            }
            Order::CloseStatement => {
                self.client.send_copy(CLOSE_COMPLETE);
                self.session.closed();
            }
            // A statement that a server has accepted before.
            Order::Parse(_) => {
                self.client.send_copy(PARSE_COMPLETE);
                self.parsed();
            }
            Order::Deallocate => {
                self.client.send_with(|out| put_command_complete(out, b"DEALLOCATE"));
                self.say_ready(status);
            }
            Order::Refuse(report) => {
                self.say(&report);
                // A refused message of the extended protocol takes all up to the Sync with it; a refused query ends here.
                match frame.first() {
                    Some(b'Q' | b'F') => self.say_ready(status),
                    _ => self.skipping = true,
                }
            }
            Order::Console(text) => {
                let answer = self.ask(&text).await;
                self.put_answer(&answer, true);
                self.say_ready(status);
            }
            Order::ConsoleParse => self.client.send_copy(PARSE_COMPLETE),
            Order::ConsoleBind => self.client.send_copy(BIND_COMPLETE),
            Order::ConsoleDescribe { statement, portal } => self.describe(&statement, portal).await,
            Order::ConsoleExecute(statement) => {
                let answer = self.ask(statement.query()).await;
                self.put_answer(&answer, false);
            }
            // Nothing to answer, or not for us to.
            _ => {}
        }
    }

    async fn describe(&mut self, statement: &Statement, portal: bool) {
        let answer = self.ask(statement.query()).await;
        if !portal {
            // No parameters.
            self.client.send_with(|out| build(out, b't', |out| out.extend_from_slice(&[0, 0])));
        }
        match &answer {
            Answer::Table { columns, .. } => self.client.send_with(|out| {
                put_row_description(out, columns.iter().map(String::as_str));
            }),
            Answer::Done { .. } => self.client.send_copy(NO_DATA),
            Answer::Refused { .. } => self.put_answer(&answer, false),
        }
    }

    async fn ask(&self, text: &[u8]) -> Answer {
        let statement = String::from_utf8_lossy(text).into_owned();
        let answer = self.shard.console(statement, self.user().to_owned()).await;
        answer.unwrap_or_else(|| Answer::Refused {
            sqlstate: Sqlstate::CANNOT_CONNECT_NOW.0,
            message: "pgweir's control thread has no time to answer, try again".to_owned(),
            hint: None,
        })
    }

    fn put_answer(&mut self, answer: &Answer, described: bool) {
        match answer {
            Answer::Table { columns, rows, tag } => self.client.send_with(|out| {
                if described {
                    put_row_description(out, columns.iter().map(String::as_str));
                }
                for row in rows {
                    put_row(out, row.iter().map(|value| value.as_ref().map(|value| value.as_bytes())));
                }
                put_command_complete(out, tag.as_bytes());
            }),
            Answer::Done { tag } if tag.is_empty() => self.client.send_copy(EMPTY_QUERY),
            Answer::Done { tag } => self.client.send_with(|out| put_command_complete(out, tag.as_bytes())),
            Answer::Refused { sqlstate, message, hint } => {
                let mut report = Report::error(Sqlstate(*sqlstate), message.clone());
                report.hint = hint.clone();
                self.say(&report);
                if !described {
                    self.skipping = true;
                }
            }
        }
    }
}
