//! Makes a failing script smaller: steps, then frames, then statements are left out as long as the same kind of
//! difference remains (Zeller, Hildebrandt: "Simplifying and isolating failure-inducing input", 2002).

use std::time::{Duration, Instant};

use super::script::{Frame, Script, Stage};

/// The smallest script that is found within `time` to fail as `script` does, which `fails` decides.
pub fn shrink(script: Script, time: Duration, mut fails: impl FnMut(&Script) -> bool) -> Script {
    let deadline = Instant::now() + time;
    let mut fails = move |candidate: &Script| Instant::now() < deadline && fails(candidate);
    let mut script = script;
    loop {
        let before = size(&script);
        script = without_parts(script, |script| script.steps.len(), remove_steps, &mut fails);
        script = without_parts(script, count_frames, remove_frames, &mut fails);
        script = without_parts(script, count_statements, remove_statements, &mut fails);
        script = plainer(script, &mut fails);
        if size(&script) == before {
            return script;
        }
    }
}

/// Leaves out runs of parts, from long ones to single ones.
fn without_parts(
    mut script: Script,
    count: impl Fn(&Script) -> usize,
    remove: impl Fn(&mut Script, usize, usize),
    fails: &mut impl FnMut(&Script) -> bool,
) -> Script {
    let mut run = count(&script).div_ceil(2);
    while run > 0 {
        // From the end, where what is of no use any more is most.
        let mut end = count(&script);
        while end > 0 {
            let begin = end.saturating_sub(run);
            let mut candidate = script.clone();
            remove(&mut candidate, begin, end);
            if fails(&candidate) {
                script = candidate;
            }
            end = begin;
        }
        run /= 2;
    }
    script
}

/// Leaves out what sessions begin with, and takes the plainest stage.
fn plainer(mut script: Script, fails: &mut impl FnMut(&Script) -> bool) -> Script {
    for session in 0..script.sessions.len() {
        let mut candidate = script.clone();
        candidate.sessions[session] = Default::default();
        if candidate.sessions[session] != script.sessions[session] && fails(&candidate) {
            script = candidate;
        }
    }
    if script.stage.replicas {
        let mut candidate = script.clone();
        candidate.stage = Stage { replicas: false, ..script.stage };
        if fails(&candidate) {
            script = candidate;
        }
    }
    script
}

fn remove_steps(script: &mut Script, begin: usize, end: usize) {
    script.steps.drain(begin..end);
}

fn count_frames(script: &Script) -> usize {
    script.steps.iter().map(|step| step.frames.len()).sum()
}

fn remove_frames(script: &mut Script, begin: usize, end: usize) {
    let mut number = 0;
    for step in &mut script.steps {
        step.frames.retain(|_| {
            number += 1;
            !(begin..end).contains(&(number - 1))
        });
    }
    script.steps.retain(|step| !step.frames.is_empty());
}

fn count_statements(script: &Script) -> usize {
    let frames = script.steps.iter().flat_map(|step| &step.frames);
    frames.map(|frame| if let Frame::Query(statements) = frame { statements.len() } else { 0 }).sum()
}

/// Leaves out statements of simple queries, of which one is left in each.
fn remove_statements(script: &mut Script, begin: usize, end: usize) {
    let mut number = 0;
    for frame in script.steps.iter_mut().flat_map(|step| &mut step.frames) {
        if let Frame::Query(statements) = frame {
            let mut left = statements.len();
            statements.retain(|_| {
                number += 1;
                let goes = (begin..end).contains(&(number - 1)) && left > 1;
                left -= usize::from(goes);
                !goes
            });
        }
    }
}

fn size(script: &Script) -> (usize, usize, usize, usize, bool) {
    let parameters = script.sessions.iter().map(|start| start.parameters.len()).sum();
    let stage = script.stage.replicas;
    (script.steps.len(), count_frames(script), count_statements(script), parameters, stage)
}
