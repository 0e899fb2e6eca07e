//! Days and instants as both systems write them, without an allocation: a mirror has one in every row.

/// The number that two digits make, or at least 200.
#[inline]
fn two(tens: u8, ones: u8) -> u32 {
    let (tens, ones) = (u32::from(tens.wrapping_sub(b'0')), u32::from(ones.wrapping_sub(b'0')));
    if tens > 9 || ones > 9 { 200 } else { tens * 10 + ones }
}

/// Days since 1970 of `YYYY-MM-DD`.
#[inline]
pub(super) fn day(bytes: &[u8]) -> Option<i32> {
    let &[y0, y1, y2, y3, b'-', m0, m1, b'-', d0, d1] = bytes else { return None };
    let (century, of_century, month, day) = (two(y0, y1), two(y2, y3), two(m0, m1), two(d0, d1));
    if century > 99 || of_century > 99 || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let year = century * 100 + of_century;
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let longest = match month {
        4 | 6 | 9 | 11 => 30,
        2 => 28 + u32::from(leap),
        _ => 31,
    };
    if day > longest {
        return None;
    }
    // Years that begin in March have their leap day at the end; 719,468 days lie between their year 0 and 1970. One
    // round of 400 years more keeps the year 0 itself positive.
    let year = year + 400 - u32::from(month <= 2);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = year * 365 + year / 4 - year / 100 + year / 400 + of_year;
    Some(days.cast_signed() - 719_468 - 146_097)
}

/// Microseconds since 1970 of `hh:mm:ss`.
#[inline]
fn time(bytes: &[u8]) -> Option<i64> {
    let &[h0, h1, b':', m0, m1, b':', s0, s1] = bytes else { return None };
    let (hour, minute, second) = (two(h0, h1), two(m0, m1), two(s0, s1));
    (hour < 24 && minute < 60 && second < 60).then(|| i64::from(hour * 3_600 + minute * 60 + second) * 1_000_000)
}

/// Microseconds since 1970 of `YYYY-MM-DDThh:mm:ss[.f…]` with `Z`, `+hhmm` or `+hh:mm`.
pub(super) fn instant(bytes: &[u8]) -> Option<i64> {
    let (date, rest) = bytes.split_at_checked(10)?;
    let (of_day, rest) = rest.strip_prefix(b"T")?.split_at_checked(8)?;
    let micros = i64::from(day(date)?) * 86_400_000_000 + time(of_day)?;
    if rest == b".000Z" {
        return Some(micros); // what Bulk writes
    }
    let (fraction, zone) = match rest.strip_prefix(b".") {
        Some(rest) => {
            let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
            if digits == 0 {
                return None;
            }
            rest.split_at(digits)
        }
        None => (&[][..], rest),
    };
    let fraction =
        (0..6).fold(0, |micros, place| micros * 10 + fraction.get(place).map_or(0, |byte| i64::from(byte - b'0')));
    let (east, zone) = match zone {
        b"Z" => return Some(micros + fraction),
        [b'+', zone @ ..] => (1, zone),
        [b'-', zone @ ..] => (-1, zone),
        _ => return None,
    };
    let (hours, minutes) = match *zone {
        [h0, h1, m0, m1] | [h0, h1, b':', m0, m1] => (two(h0, h1), two(m0, m1)),
        _ => return None,
    };
    let offset = (hours < 24 && minutes < 60).then(|| i64::from(hours * 60 + minutes) * 60_000_000)?;
    Some(micros + fraction - east * offset)
}
