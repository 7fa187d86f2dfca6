//! What the system says of this process.

use std::fs;
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

/// None where the system does not tell it: all but Linux.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Process {
    /// Processor time used, in seconds.
    pub(super) cpu: Option<f64>,
    /// Memory in use, in bytes.
    pub(super) resident: Option<u64>,
    /// Address space, in bytes.
    pub(super) virtual_memory: Option<u64>,
    /// Open descriptors.
    pub(super) descriptors: Option<u64>,
    /// Most of them.
    pub(super) descriptors_max: Option<u64>,
    /// Threads.
    pub(super) threads: Option<u64>,
    /// When it started, in seconds since 1970.
    pub(super) started: f64,
}

/// When this process began to look.
static STARTED: OnceLock<f64> = OnceLock::new();

/// Notes the time as that of the process's start.
pub(super) fn started() -> f64 {
    *STARTED.get_or_init(|| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        since.map_or(0.0, |since| since.as_secs_f64())
    })
}

impl Process {
    pub(super) fn read() -> Self {
        let cpu = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let kib = |name: &str| number(&status, name).map(|kib| kib * 1_024);
        let open = fs::read_dir("/proc/self/fd").ok();
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        Self {
            cpu: Some(cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9),
            resident: kib("VmRSS:"),
            virtual_memory: kib("VmSize:"),
            // Without the one that counts them.
            descriptors: open.map(|all| (all.count() as u64).saturating_sub(1)),
            descriptors_max: limit.current,
            threads: number(&status, "Threads:"),
            started: started(),
        }
    }
}

/// Bytes of this process that are in memory; none where the system does not tell.
pub(crate) fn resident() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    number(&status, "VmRSS:").map(|kib| kib.saturating_mul(1_024))
}

/// The number behind a name at the beginning of a line.
fn number(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_system_are_read() {
        let text = "Name:\tredlink\nVmRSS:\t   2048 kB\nThreads:\t7\n";
        assert_eq!(number(text, "VmRSS:"), Some(2_048));
        assert_eq!(number(text, "Threads:"), Some(7));
        assert_eq!(number(text, "VmSize:"), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_has_memory_and_files() {
        let process = Process::read();
        assert!(
            process.resident > Some(100_000) && process.descriptors > Some(2),
            "{process:?}"
        );
        assert!(process.started > 1e9 && process.cpu > Some(0.0), "{process:?}");
    }
}
