//! Named points at which a test can stop the program dead.
//!
//! In a debug build, a process whose environment has `SF2GS_PAUSE_AT=<point>[:<n>]` writes the file that
//! `SF2GS_PAUSE_FILE` names when it reaches the point for the n-th time, and then waits to be killed. Release builds
//! do not look.

/// Reaches `point`.
#[cfg(debug_assertions)]
pub fn checkpoint(point: &str) {
    use std::sync::atomic::{AtomicU32, Ordering};

    static REACHED: AtomicU32 = AtomicU32::new(0);
    let Ok(wanted) = std::env::var("SF2GS_PAUSE_AT") else { return };
    let (name, times) = match wanted.split_once(':') {
        Some((name, times)) => (name, times.parse().unwrap_or(1)),
        None => (wanted.as_str(), 1),
    };
    if name != point || REACHED.fetch_add(1, Ordering::Relaxed) + 1 != times {
        return;
    }
    if let Ok(file) = std::env::var("SF2GS_PAUSE_FILE")
        && std::fs::write(&file, point).is_ok()
    {
        loop {
            std::thread::park();
        }
    }
}

/// Reaches `point`; nothing in a release build.
#[cfg(not(debug_assertions))]
#[inline]
pub fn checkpoint(_point: &str) {}
