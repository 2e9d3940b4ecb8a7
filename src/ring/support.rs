//! Whether this kernel lets us use io_uring, and the one sentence to say when it does not.

use std::fs;
use std::io;

use rustix::process::{Resource, getrlimit};

/// Oldest kernel that has all the ring needs: `IORING_SETUP_DEFER_TASKRUN` came with 6.1.
const KERNEL_MIN: (u32, u32) = (6, 1);

/// The least limit of locked memory (bytes) that glommio starts an executor with.
const MEMLOCK_MIN: u64 = 512 * 1024;

/// Makes a ring as shards do, and lets go of it. To be called before any executor is started: glommio's own answer to
/// a kernel that refuses is a panic.
///
/// # Errors
///
/// One sentence: why there can be no ring, and what to change.
pub fn check() -> Result<(), String> {
    let locked = getrlimit(Resource::Memlock).current;
    if let Some(limit) = locked.filter(|&limit| limit < MEMLOCK_MIN) {
        let (limit, wanted) = (limit >> 10, MEMLOCK_MIN >> 10);
        return Err(format!(
            "only {limit} kB of memory may be locked, each executor wants {wanted} kB: raise `ulimit -l` (8 MB are enough)"
        ));
    }
    let (uring, buffers) = super::create(true).map_err(|error| explain(&error))?;
    drop(uring);
    drop(buffers);
    Ok(())
}

/// Turns a failure to create a ring into one sentence that names the cause and what to change.
pub fn explain(error: &io::Error) -> String {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let disabled = fs::read_to_string("/proc/sys/kernel/io_uring_disabled").unwrap_or_default();
    sentence(error, release.trim(), disabled.trim())
}

fn sentence(error: &io::Error, release: &str, disabled: &str) -> String {
    let (major, minor) = KERNEL_MIN;
    match (parse_release(release), disabled, error.raw_os_error()) {
        (Some(version), ..) if version < KERNEL_MIN => format!(
            "the kernel is too old: pgweir needs Linux {major}.{minor} or newer for io_uring, this is {release}"
        ),
        (_, "2", _) => "io_uring is switched off on this machine (kernel.io_uring_disabled = 2): \
             allow it with `sysctl kernel.io_uring_disabled=0`"
            .to_owned(),
        (_, "1", Some(libc::EPERM)) => "io_uring is allowed only to a privileged group on this machine \
             (kernel.io_uring_disabled = 1): allow it to all with `sysctl kernel.io_uring_disabled=0`, \
             or run pgweir in the group named by kernel.io_uring_group"
            .to_owned(),
        (_, _, Some(libc::ENOSYS)) => format!(
            "this kernel has no io_uring ({error}): it was built without CONFIG_IO_URING, or pgweir runs in a sandbox \
             that does not offer it (as gVisor does not): run pgweir on Linux {major}.{minor} or newer, with io_uring"
        ),
        (_, _, Some(libc::EPERM | libc::EACCES)) => format!(
            "io_uring is refused ({error}), most likely by the container's seccomp profile: \
             run the container with a profile that allows io_uring_setup, io_uring_enter and io_uring_register \
             (docker: --security-opt seccomp=FILE or seccomp=unconfined)"
        ),
        (_, _, Some(libc::ENOMEM)) => format!(
            "no memory for the io_uring of a shard ({error}): raise `ulimit -l` (8 MB are enough) or lower [shards] count"
        ),
        (_, _, Some(libc::EMFILE | libc::ENFILE)) => {
            format!("no file descriptor left for the io_uring of a shard ({error}): raise `ulimit -n`")
        }
        (_, _, Some(libc::EINVAL)) => format!(
            "this kernel, {release}, lacks a part of io_uring that pgweir needs and that Linux has since \
             {major}.{minor} ({error})"
        ),
        _ => format!("cannot set up io_uring: {error}"),
    }
}

fn parse_release(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_says_what_to_change() {
        let eperm = io::Error::from_raw_os_error(libc::EPERM);
        let einval = io::Error::from_raw_os_error(libc::EINVAL);
        assert!(sentence(&einval, "5.10.0-30-amd64", "0").contains("needs Linux 6.1"));
        assert!(sentence(&eperm, "6.8.0", "2").contains("kernel.io_uring_disabled=0"));
        assert!(sentence(&eperm, "6.8.0", "1").contains("kernel.io_uring_group"));
        assert!(sentence(&eperm, "6.8.0", "0").contains("seccomp"));
        assert!(sentence(&einval, "6.8.0", "0").contains("6.8.0, lacks a part of io_uring"));
        let errno = |errno| io::Error::from_raw_os_error(errno);
        assert!(sentence(&errno(libc::ENOSYS), "6.8.0", "0").contains("CONFIG_IO_URING"));
        assert!(sentence(&errno(libc::ENOMEM), "6.8.0", "0").contains("ulimit -l"));
        assert!(sentence(&errno(libc::EMFILE), "6.8.0", "0").contains("ulimit -n"));
        assert!(sentence(&errno(libc::EIO), "6.8.0", "0").contains("cannot set up io_uring"));
    }

    #[test]
    fn releases_of_all_distributions_are_read() {
        assert_eq!(parse_release("6.1.0-18-amd64"), Some((6, 1)));
        assert_eq!(parse_release("6.18.44-fc-v595"), Some((6, 18)));
        assert_eq!(parse_release("5.15.167.4-microsoft-standard-WSL2"), Some((5, 15)));
        assert_eq!(parse_release("nonsense"), None);
    }
}
