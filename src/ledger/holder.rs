//! Who holds a lease, and whether that process is still there.
//!
//! A process id alone proves nothing: it is reused, and means another process on another machine or in another
//! container. So a holder is known by machine (boot id and process namespace), process id and that process's start.
//! Where the system does not tell (no `/proc`), only the heartbeat counts.

use std::fs;

/// A process on a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Holder {
    /// Empty where the system does not tell.
    pub(super) machine: String,
    pub(super) process: u32,
    /// When it started, in the system's own unit.
    pub(super) process_start: String,
}

impl Holder {
    /// This process.
    pub(super) fn this() -> Self {
        let process = std::process::id();
        Self { machine: machine().unwrap_or_default(), process, process_start: start_of(process).unwrap_or_default() }
    }

    /// Whether it is known to have ended. `false` also means "cannot be told from here".
    pub(super) fn is_gone(&self) -> bool {
        match machine() {
            Some(here) if here == self.machine && !self.process_start.is_empty() => {
                start_of(self.process).is_none_or(|start| start != self.process_start)
            }
            _ => false,
        }
    }
}

fn machine() -> Option<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let namespace = fs::read_link("/proc/self/ns/pid").ok()?;
    Some(format!("{}/{}", boot.trim(), namespace.display()))
}

/// Field 22 of `/proc/<pid>/stat`, counted from the last parenthesis because a command's name may hold spaces. A process that
/// has ended but was not yet waited for (state `Z`) counts as gone.
fn start_of(process: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    if matches!(fields.next()?, "Z" | "X") {
        return None;
    }
    fields.nth(18).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_there_and_one_with_its_id_but_another_start_is_not() {
        let this = Holder::this();
        assert!(!this.is_gone());
        if !this.machine.is_empty() {
            assert!(Holder { process_start: "1".into(), ..this.clone() }.is_gone());
            assert!(!Holder { machine: "elsewhere".into(), process_start: "1".into(), ..this }.is_gone());
        }
    }
}
