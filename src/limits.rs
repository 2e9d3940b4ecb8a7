//! Every bound in one place, derived by adding up who can hold what. A limit is named `…_MAX` (or `…_SIZE`) and has its
//! unit in its comment; nothing in the data plane grows without one of these above it.
//!
//! The memory of one shard is the sum of three things:
//!
//! 1. the buffer ring ([`RECV_BUFFERS`] × [`RECV_BUFFER_SIZE`]), shared by all its sockets, of which only as much is ever
//!    touched as was in use at one time;
//! 2. per session, only while it moves bytes: [`SOCKET_RECEIVED_MAX`] received and not yet looked into plus
//!    [`SOCKET_UNSENT_MAX`] waiting to be sent, in each direction, and [`FRAME_HOLD_MAX`] for a message that must be
//!    seen whole;
//! 3. per idle session: a record of what it has set and prepared, its seat, a place in the table of sockets; no task, no
//!    buffers. About half a kilobyte while its settings are those of others too (`shard::parking` and `ring::sockets`
//!    hold the bounds).
//!
//! A session that moves bulk data cannot starve the others of receive buffers: see [`RECV_BUFFERS_LOW`].

use std::time::Duration;

/// Bytes in one receive buffer of the ring.
pub const RECV_BUFFER_SIZE: usize = 32 * 1024;

/// Receive buffers of one shard. A power of two, at most 32768 (io_uring_register_buf_ring(3)).
pub const RECV_BUFFERS: usize = 512;

/// When fewer buffers than this are free, bytes are moved to the heap instead of being kept in the ring's buffers: both
/// what arrives and what is about to be sent. Then no socket holds a ring buffer across a turn of the reactor, so at
/// least this many minus those of one turn always come back, however many clients do not read.
pub const RECV_BUFFERS_LOW: usize = RECV_BUFFERS / 4;

/// Received bytes one socket may hold unread before it stops receiving; it goes on when half of them were taken. A stream
/// that swells suddenly may exceed this once, by the buffers that the kernel was offered at that moment.
pub const SOCKET_RECEIVED_MAX: usize = 32 * 1024;

/// Bytes one socket may have waiting to be sent before whoever feeds it stops reading from the other side. That much is
/// looked at in front of each received buffer, so one more may be waiting.
pub const SOCKET_UNSENT_MAX: usize = 48 * 1024;

/// Largest message (bytes, with its head) that is collected to be looked into as a whole: a query to classify, a
/// statement to prepare. Longer ones are relayed as they come and treated as writes that may change anything.
pub const FRAME_HOLD_MAX: usize = 256 * 1024;

/// Largest message body the protocol allows (bytes): PostgreSQL's own `PQ_LARGE_MESSAGE_LIMIT`, 1 GB - 1.
pub const FRAME_BODY_MAX: u32 = 0x3fff_ffff;

/// Largest message of those that are always small (bytes): PostgreSQL's `PQ_SMALL_MESSAGE_LIMIT`.
pub const FRAME_SMALL_MAX: u32 = 10_000;

/// Largest startup packet (bytes): PostgreSQL's `MAX_STARTUP_PACKET_LENGTH`.
pub const STARTUP_PACKET_MAX: u32 = 10_000;

/// Frames of a pipeline that are collected while looking for its end, to route it as a whole; a longer one goes to the
/// primary.
pub const BATCH_FRAMES_MAX: usize = 1_024;

/// Bytes of a pipeline that are collected while looking for its end.
pub const BATCH_BYTES_MAX: usize = 64 * 1024;

/// Replies one backend may owe at a time; a client that pipelines more waits.
pub const REPLIES_OWED_MAX: usize = 64 * 1024;

/// Prepared statements one session may hold by name. PostgreSQL has no bound; this one keeps a leaking client from
/// taking the process with it.
pub const SESSION_STATEMENTS_MAX: usize = 50_000;

/// Channels one session may listen to. PostgreSQL has no bound; this one keeps a leaking client from taking the process
/// with it.
pub const SESSION_CHANNELS_MAX: usize = 10_000;

/// Bytes of notifications that wait for one session, because its client does not read or its transaction goes on. With
/// more, the session ends. PostgreSQL keeps up to 8 GB on disk for all sessions together.
pub const NOTIFICATIONS_UNTOLD_MAX: usize = 4 * 1024 * 1024;

/// Backends one pool opens at the same time; more only wait for each other in the server.
pub const CONNECTS_MAX: usize = 8;

/// Answers to startup parameters that a shard keeps, so that the next login like it needs no backend.
pub const LOGINS_KEPT_MAX: usize = 10_000;

/// Fingerprints that a shard keeps, for each database, of reads that a standby refused: 40 kB.
pub const CORRECTIONS_MAX: usize = 1_024;

/// How long such a fingerprint is kept: what was a write may have become a read without pgweir having seen it.
pub const CORRECTION_AGE_MAX: Duration = Duration::from_secs(3600);

/// Messages that wait in one queue between two threads.
pub const QUEUE_MAX: usize = 16 * 1024;

/// Completions handled in one turn of the reactor before the woken tasks run.
pub const COMPLETIONS_PER_TURN_MAX: usize = 1_024;

/// Entries of the submission queue. When it is full, it is submitted and filled again.
pub const SUBMISSIONS_MAX: u32 = 1_024;

/// Entries of the completion queue; the kernel keeps what does not fit.
pub const COMPLETIONS_MAX: u32 = 8_192;

/// Clients accepted per turn of a listener before the other tasks run.
pub const ACCEPTS_PER_TURN_MAX: usize = 64;

const _: () = {
    assert!(RECV_BUFFERS.is_power_of_two() && RECV_BUFFERS <= 32_768);
    // A turn may take at most what is kept free for it.
    assert!(RECV_BUFFERS_LOW * 2 < RECV_BUFFERS);
    assert!(SOCKET_RECEIVED_MAX >= RECV_BUFFER_SIZE && SOCKET_UNSENT_MAX >= RECV_BUFFER_SIZE);
    // What a session may hold that moves bulk data both ways: unread and unsent, each with the buffer that came last.
    assert!(2 * (SOCKET_RECEIVED_MAX / 2 + SOCKET_UNSENT_MAX + 2 * RECV_BUFFER_SIZE) <= 256 * 1024);
    assert!(FRAME_HOLD_MAX as u64 <= FRAME_BODY_MAX as u64);
    assert!(BATCH_BYTES_MAX <= FRAME_HOLD_MAX);
};
