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
    day_of(two(y0, y1), two(y2, y3), two(m0, m1), two(d0, d1))
}

#[inline]
fn day_of(century: u32, of_century: u32, month: u32, day: u32) -> Option<i32> {
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

/// Microseconds since 1970 of `YYYY-MM-DDThh:mm:ss.fffZ`, which is what Bulk writes.
fn whole(text: &[u8; 24]) -> Option<i64> {
    const DATE: Form = Form::new(b"0000-00-");
    const HOURS: Form = Form::new(b"00T00:00");
    const SECONDS: Form = Form::new(b":00.000Z");

    let &[date, hours, seconds] = text.as_chunks().0 else { return None };
    let [century, _, of_century, _, _, month, ..] = DATE.pairs(date)?;
    let [day, _, _, hour, _, _, minute, _] = HOURS.pairs(hours)?;
    // The last digit of the three stands before a `Z`, which counts as 0.
    let [_, second, _, _, hundredths, _, ten_thousandths, _] = SECONDS.pairs(seconds)?;
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let days = day_of(century.into(), of_century.into(), month.into(), day.into())?;
    let of_day = (i64::from(hour) * 60 + i64::from(minute)) * 60 + i64::from(second);
    let micros = i64::from(hundredths) * 10_000 + i64::from(ten_thousandths) * 100;
    Some(i64::from(days) * 86_400_000_000 + of_day * 1_000_000 + micros)
}

/// What eight characters must be: digits where it has a `0`, and elsewhere just the same.
#[derive(Clone, Copy)]
struct Form {
    characters: u64,
    /// Added to a digit, or to nothing, this leaves the high bit unset.
    room: u64,
}

impl Form {
    const fn new(characters: &[u8; 8]) -> Self {
        let mut room = [0x7f; 8];
        let mut at = 0;
        while at < 8 {
            if characters[at] == b'0' {
                room[at] -= 9;
            }
            at += 1;
        }
        Self { characters: u64::from_le_bytes(*characters), room: u64::from_le_bytes(room) }
    }

    /// The number that each digit makes with the one after it; what is no digit counts as 0. All eight are looked at in
    /// one word.
    #[inline]
    fn pairs(self, text: [u8; 8]) -> Option<[u8; 8]> {
        const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);
        let digits = u64::from_le_bytes(text) ^ self.characters;
        let right = (digits | ((digits & !HIGH) + self.room)) & HIGH == 0;
        right.then(|| (digits * 10 + (digits >> 8)).to_le_bytes())
    }
}

/// Microseconds since 1970 of `YYYY-MM-DDThh:mm:ss[.f…]` with `Z`, `+hhmm` or `+hh:mm`.
pub(super) fn instant(bytes: &[u8]) -> Option<i64> {
    if let Some(micros) = bytes.try_into().ok().and_then(whole) {
        return Some(micros);
    }
    let (date, rest) = bytes.split_at_checked(10)?;
    let (of_day, rest) = rest.strip_prefix(b"T")?.split_at_checked(8)?;
    let micros = i64::from(day(date)?) * 86_400_000_000 + time(of_day)?;
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
