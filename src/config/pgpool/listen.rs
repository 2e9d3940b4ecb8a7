//! Where clients connect.

use super::lexer::Setting;
use super::{Outcome, Reader, pool, value};
use crate::config::Listen;

pub(super) fn listen_addresses(
    reader: &mut Reader,
    setting: &Setting,
    _: Option<u32>,
) -> Result<Outcome, String> {
    reader.draft.config.listen.addresses = value::list(&setting.value);
    Ok(Outcome::sets("[listen] address"))
}

pub(super) fn port(reader: &mut Reader, setting: &Setting, _: Option<u32>) -> Result<Outcome, String> {
    let port = value::integer(&setting.value, 1..=65535)?;
    reader.draft.config.listen.port = port as u16;
    Ok(Outcome::sets("[listen] port"))
}

pub(super) fn unix_socket_directories(
    reader: &mut Reader,
    setting: &Setting,
    _: Option<u32>,
) -> Result<Outcome, String> {
    let dirs = value::list(&setting.value);
    reader.draft.config.listen.unix_socket_dirs = dirs.into_iter().map(Into::into).collect();
    Ok(Outcome::sets("[listen] unix_socket_dir"))
}

pub(super) fn unix_socket_permissions(
    reader: &mut Reader,
    setting: &Setting,
    _: Option<u32>,
) -> Result<Outcome, String> {
    let mode = value::integer(&setting.value, 0..=0o777)
        .map_err(|_| format!("'{}' is no file mode: write 0000 to 0777", setting.value))?;
    reader.draft.config.listen.unix_socket_mode = mode as u32;
    Ok(Outcome::sets("[listen] unix_socket_mode"))
}

/// In pgpool-II clients beyond num_init_children wait in the kernel's queue, so it has to be long
/// enough; pgweir accepts at once, and a queue shorter than its default would only lose bursts.
pub(super) fn listen_backlog_multiplier(
    reader: &mut Reader,
    setting: &Setting,
    _: Option<u32>,
) -> Result<Outcome, String> {
    let multiplier = value::integer(&setting.value, 1..=i64::from(i32::MAX))?;
    let backlog = multiplier.saturating_mul(pool::children(reader));
    let backlog = backlog.clamp(i64::from(Listen::default().backlog), 65535);
    reader.draft.config.listen.backlog = backlog as u32;
    Ok(Outcome::sets("[listen] backlog"))
}
