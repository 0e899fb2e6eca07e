//! Amounts as people write them: sizes of memory, lengths of time.

use std::time::Duration;

const SIZES: &[(&str, u64)] = &[
    ("tb", 1 << 40),
    ("gb", 1 << 30),
    ("mb", 1 << 20),
    ("kb", 1 << 10),
    ("t", 1 << 40),
    ("g", 1 << 30),
    ("m", 1 << 20),
    ("k", 1 << 10),
    ("b", 1),
];

const TIMES: &[(&str, u64)] = &[("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// `2GB`, `512 MB`, `1.5g`: multiples of 1024, as memory is counted.
pub(super) fn bytes(text: &str) -> Result<u64, String> {
    let lower = text.to_lowercase().replace("ib", "b");
    amount(&lower, SIZES)
        .filter(|bytes| *bytes > 0)
        .ok_or_else(|| "write a size such as \"2GB\" or \"512MB\"".to_owned())
}

/// `10m`, `30 s`, `1h`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    amount(&text.to_lowercase(), TIMES)
        .map(Duration::from_millis)
        .ok_or_else(|| "write a length of time such as \"30s\", \"10m\" or \"1h\"".to_owned())
}

fn amount(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let (unit, factor) = units.iter().find(|(unit, _)| {
        text.strip_suffix(unit).is_some_and(|number| number.trim_end().ends_with(|last: char| last.is_ascii_digit()))
    })?;
    let number = text.strip_suffix(unit)?.trim();
    if !number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return None;
    }
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(*factor);
    }
    let amount = number.parse::<f64>().ok()? * *factor as f64;
    (amount < 9e15).then_some(amount as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_are_read_as_people_write_them() {
        for (text, wanted) in [("2GB", 2 << 30), ("512 MB", 512 << 20), ("1.5g", 3 << 29), ("2GiB", 2 << 30), ("7b", 7)]
        {
            assert_eq!(bytes(text), Ok(wanted), "{text}");
        }
        for wrong in ["", "2", "GB", "-1GB", "0GB", "1e3GB", "99999999999TB"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
        for (text, wanted) in [("10m", 600_000), ("30 s", 30_000), ("1.5h", 5_400_000), ("250ms", 250), ("0s", 0)] {
            assert_eq!(duration(text), Ok(Duration::from_millis(wanted)), "{text}");
        }
        for wrong in ["10", "m", "10 minutes", "-1s"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
