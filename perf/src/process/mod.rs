//! Programs that perf starts: their cores, their account, what they cost, and that none of them outlives perf.

mod account;
mod child;
mod cores;
mod cpu;
mod descriptors;
mod machine;
mod memory;
mod port;
mod registry;
mod tree;

pub use account::Account;
pub use child::{Child, Stop, Unstarted};
pub use cores::{allowed as cores_allowed, own as own_cores, parse as parse_cores};
pub use cpu::cpu_time;
pub use descriptors::raise as raise_descriptor_limit;
pub use machine::Machine;
pub use memory::Memory;
pub use port::free_port;
pub use registry::{Folder, stop_everything_on_signals};
pub use tree::descriptors_open;
