//! Which core each shard runs on.

use super::StartError;
use crate::config::Shards;

/// The cores that this process may use.
pub(super) fn allowed() -> Vec<usize> {
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    cores.into_iter().map(|core| core.id).collect()
}

/// The core of each shard, `None` for one that goes where the system puts it. More shards than cores works: those
/// beyond are not pinned, since two pinned to one core would wait for each other while another core idles.
///
/// # Errors
///
/// When a core is asked for that is not `allowed`.
pub(super) fn assign(shards: &Shards, allowed: &[usize]) -> Result<Vec<Option<usize>>, StartError> {
    let cores = shards.cores.as_deref().unwrap_or(allowed);
    if let Some(core) = cores.iter().find(|core| !allowed.contains(core)) {
        return Err(StartError::Core { core: *core, allowed: allowed.to_vec() });
    }
    let count = match &shards.cores {
        Some(cores) => cores.len(),
        None => shards.count.unwrap_or(cores.len().max(1)),
    };
    let pinned = cores.iter().copied().map(Some).filter(|_| shards.pin);
    Ok(pinned.chain(std::iter::repeat(None)).take(count).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_shard_gets_a_core_of_its_own_or_none() {
        let shards = |count, cores: Option<&[usize]>, pin| Shards {
            count,
            cores: cores.map(<[usize]>::to_vec),
            pin,
            ..Shards::default()
        };
        for (shards, expected) in [
            (shards(None, None, true), vec![Some(4), Some(6)]),
            (shards(Some(1), None, true), vec![Some(4)]),
            (shards(Some(3), None, true), vec![Some(4), Some(6), None]),
            (shards(None, None, false), vec![None, None]),
            (shards(None, Some(&[6]), true), vec![Some(6)]),
            (shards(Some(2), Some(&[6, 4]), true), vec![Some(6), Some(4)]),
        ] {
            assert_eq!(assign(&shards, &[4, 6]).expect("all are allowed"), expected, "{shards:?}");
        }
        assert!(assign(&shards(None, Some(&[5]), true), &[4, 6]).is_err());
        assert_eq!(assign(&shards(None, None, true), &[]).expect("nothing is asked for"), [None]);
    }
}
