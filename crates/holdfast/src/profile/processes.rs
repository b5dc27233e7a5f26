//! What the system says of processes: their processor time and memory. Linux only; elsewhere nothing is known.

use std::ops::Range;

/// Clock ticks a second, as every Linux has had them for decades.
const TICKS: f64 = 100.0;

/// Processor seconds of a process so far; 0 when it is not there.
pub(super) fn cpu_seconds(pid: u32) -> f64 {
    stat(&pid.to_string()).map_or(0.0, |stat| stat.ticks(11..13) / TICKS)
}

/// Processor seconds of a process and all below it, those of its children that have ended included.
pub(super) fn cpu_seconds_of_family(first: u32) -> f64 {
    let mut ticks = stat(&first.to_string()).map_or(0.0, |stat| stat.ticks(11..15));
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str().filter(|name| name.parse::<u32>().is_ok()) else {
            continue;
        };
        if let Some(stat) = stat(name).filter(|stat| stat.parent() == Some(first)) {
            ticks += stat.ticks(11..13);
        }
    }
    ticks / TICKS
}

/// Resident memory in MiB; 0 when the process is not there.
pub(super) fn resident_mib(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    field(&status, "VmRSS:").map_or(0.0, |kib| kib / 1024.0)
}

/// The number behind a name in a file of `name: number unit` lines.
pub(super) fn field(text: &str, name: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

struct Stat(String);

/// A process' line, from its state on.
fn stat(pid: &str) -> Option<Stat> {
    let line = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before it may hold anything, spaces and brackets included.
    let (_, rest) = line.rsplit_once(") ")?;
    Some(Stat(rest.to_owned()))
}

impl Stat {
    fn parent(&self) -> Option<u32> {
        self.0.split(' ').nth(1)?.parse().ok()
    }

    fn ticks(&self, fields: Range<usize>) -> f64 {
        let wanted = self.0.split(' ').skip(fields.start).take(fields.len());
        wanted.filter_map(|ticks| ticks.parse::<f64>().ok()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_and_a_parent_and_grows_older() {
        let own = std::process::id();
        assert!(resident_mib(own) > 0.5);
        let before = cpu_seconds(own);
        let mut sum = 0_u64;
        while cpu_seconds(own) <= before {
            sum = (0..100_000).fold(sum, |sum, number| std::hint::black_box(sum ^ number));
        }
        let parent = stat(&own.to_string()).and_then(|stat| stat.parent()).unwrap();
        assert!(cpu_seconds_of_family(parent) >= before);
        assert_eq!(cpu_seconds(u32::MAX), 0.0);
    }
}
