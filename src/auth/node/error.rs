//! What can go wrong in a login to a node, and whose fault it is.

use crate::auth::scram::Malformed;

/// Why a login to a node did not succeed, apart from what the node itself says in an ErrorResponse.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NodeError {
    /// It says that we are in, or signs, without the secret: it may be another server than the one we mean.
    #[error(
        "node did not prove that it knows the user's SCRAM secret: is another server answering at its address?"
    )]
    Impostor,
    /// The user list holds a SCRAM secret, which checks proofs and cannot make them.
    #[error(
        "node asks for SCRAM-SHA-256 and the user list holds only a SCRAM secret for \"{user}\", which is enough when \
         clients prove themselves by scram-sha-256: use that method for them, or store the password itself"
    )]
    KeysMissing {
        /// The login name.
        user: String,
    },
    /// The node breaks the protocol; what it did.
    #[error("node broke the authentication protocol: {0}")]
    Misbehaved(&'static str),
    /// The caller's mistake: it called [`Login::provide`](super::Login::provide) when no keys were wanted.
    #[error("keys were provided to a login that did not ask for them")]
    NotAsked,
    /// The node ended SCRAM with this reason.
    #[error("node refused the SCRAM exchange: {0}")]
    Refused(String),
    /// Our keys are for another salt or other iterations than the node's.
    #[error(
        "node keeps another SCRAM secret for \"{user}\" than the user list: copy rolpassword from its pg_authid into \
         the list, or store the password itself"
    )]
    SecretDiffers {
        /// The login name.
        user: String,
    },
    /// What the user list holds cannot answer.
    #[error(
        "node asks for {asked} and the user list holds {held} for \"{user}\": store the password itself in the list, or \
         change pg_hba.conf of the node"
    )]
    SecretUnfit {
        /// The login name.
        user: String,
        /// What the node asked for.
        asked: &'static str,
        /// What is stored.
        held: &'static str,
    },
    /// The node asks for something pgweir does not speak.
    #[error(
        "node asks for {0}, which pgweir does not speak: change pg_hba.conf of the node to scram-sha-256"
    )]
    Unsupported(&'static str),
}

impl NodeError {
    /// Who has to act: an operator can mend the one with a configuration file, the other is the node's own fault.
    pub fn fault(&self) -> Fault {
        match self {
            NodeError::KeysMissing { .. }
            | NodeError::SecretDiffers { .. }
            | NodeError::SecretUnfit { .. }
            | NodeError::Unsupported(_) => Fault::Configuration,
            NodeError::Impostor | NodeError::Misbehaved(_) | NodeError::Refused(_) => Fault::Node,
            NodeError::NotAsked => Fault::Bug,
        }
    }

    /// The SQLSTATE a client gets that waits for this login: what PostgreSQL would say is wrong with the authorization
    /// (28000), with the connection to the node (08P01), or inside pgweir (XX000).
    pub fn sqlstate(&self) -> &'static str {
        match self.fault() {
            Fault::Bug => "XX000",
            Fault::Configuration => "28000",
            Fault::Node => "08P01",
        }
    }
}

/// Whose fault a failed login is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// pgweir's own code.
    Bug,
    /// The user list, or pg_hba.conf of the node.
    Configuration,
    /// The node, or who pretends to be it.
    Node,
}

impl From<Malformed> for NodeError {
    fn from(malformed: Malformed) -> NodeError {
        NodeError::Misbehaved(malformed.0)
    }
}
