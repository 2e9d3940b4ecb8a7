//! Who may come in: pool_hba.conf, pool_passwd, and what follows from them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::lexer::Setting;
use super::{Outcome, Reader, value};
use crate::config::AuthMethod;
use crate::config::draft::Place;
use crate::config::secrets::{Secrets, is_md5};

/// What the settings said.
#[derive(Default)]
pub(super) struct Access {
    hba: bool,
    /// The name of the pool_passwd file as written; empty for none.
    passwd: Option<String>,
}

impl Access {
    /// Beside the pgpool.conf, unless its path starts at the root.
    pub(super) fn pool_passwd(&self, conf: &Path) -> Option<(PathBuf, bool)> {
        let name = self.passwd.as_deref().unwrap_or("pool_passwd");
        (!name.is_empty()).then(|| (conf.with_file_name("").join(name), self.passwd.is_some()))
    }

    pub(super) fn pool_hba(&self, conf: &Path) -> Option<PathBuf> {
        self.hba.then(|| conf.with_file_name("pool_hba.conf"))
    }
}

pub(super) fn enable_pool_hba(
    reader: &mut Reader,
    setting: &Setting,
    _: Option<u32>,
) -> Result<Outcome, String> {
    reader.access.hba = value::boolean(&setting.value)?;
    let outcome = Outcome::sets("[auth] method");
    Ok(match reader.access.hba {
        true => outcome.and("[auth] hba"),
        false => outcome,
    })
}

pub(super) fn pool_passwd(reader: &mut Reader, setting: &Setting, _: Option<u32>) -> Result<Outcome, String> {
    reader.access.passwd = Some(setting.value.clone());
    Ok(match setting.value.is_empty() {
        true => Outcome::says("no secrets"),
        false => Outcome::sets("[auth] users"),
    })
}

/// Pgpool-II asks for the password in clear text when it has none for a user, to log in to the
/// nodes with it.
pub(super) fn allow_clear_text_frontend_auth(
    reader: &mut Reader,
    setting: &Setting,
    _: Option<u32>,
) -> Result<Outcome, String> {
    let hba = reader.value("enable_pool_hba", None).map(value::boolean) == Some(Ok(true));
    Ok(match (value::boolean(&setting.value)?, hba) {
        (false, _) => Outcome::says("as pgweir always does"),
        (true, true) => Outcome::warns(
            "has no meaning in pgweir: in pgpool-II too it counts only while enable_pool_hba is off",
        ),
        (true, false) => Outcome::warns(
            "is not used yet: every user that logs in with a password needs a line in pool_passwd",
        ),
    })
}

/// 0 is no limit, which pgweir does not offer: whoever connects and says nothing would stay.
pub(super) fn authentication_timeout(
    reader: &mut Reader,
    setting: &Setting,
    _: Option<u32>,
) -> Result<Outcome, String> {
    let timeout = value::duration(&setting.value, "s", Duration::from_millis(100)..=HOUR)?;
    reader.draft.config.auth.login_timeout = match timeout.is_zero() {
        true => HOUR,
        false => timeout,
    };
    Ok(Outcome::sets("[auth] login_timeout"))
}

/// Chooses the method where no hba file does. Pgpool-II then passes on whatever the nodes ask
/// for; pgweir proves clients itself, by the strongest method that works for every secret it has.
/// Without any secret it cannot, and could not log in to a node that wants a password either, so
/// only nodes that trust pgweir work: as with pgpool-II.
pub(super) fn finish(reader: &mut Reader, secrets: &Secrets) {
    if reader.access.hba {
        reader.draft.config.auth.method = AuthMethod::Hba;
        return;
    }
    let secrets = &secrets.users;
    reader.draft.config.auth.method = if secrets.is_empty() {
        let place = Place { key: Some("[auth] method".to_string()), ..Place::bare(&reader.draft.file, None) };
        reader.draft.warning(
            place,
            "clients are not asked for a password, because enable_pool_hba is off and pool_passwd \
             holds no secret: only nodes that trust pgweir will let them in",
        );
        AuthMethod::Trust
    } else if secrets.values().any(|secret| is_md5(secret)) {
        AuthMethod::Md5
    } else {
        AuthMethod::ScramSha256
    };
}

const HOUR: Duration = Duration::from_secs(3600);
