//! The encodings of Parquet that flat columns need, as the format's specification has them.

use arrow::array::Array;
use arrow::array::ArrayRef;
use arrow::array::BooleanBufferBuilder;

/// The definition levels, after their length: one run if nothing is null, else a bit a row.
pub(super) fn add_validity(pieces: &[ArrayRef], nulls: usize, page: &mut Vec<u8>) {
    let rows: usize = pieces.iter().map(|piece| piece.len()).sum();
    let begin = page.len();
    page.extend_from_slice(&[0; 4]);
    if nulls == 0 {
        add_varint((rows as u64) << 1, page);
        page.push(1);
    } else {
        let mut bits = BooleanBufferBuilder::new(rows.next_multiple_of(8));
        for piece in pieces {
            match piece.nulls() {
                Some(nulls) => bits.append_buffer(nulls.inner()),
                None => bits.append_n(piece.len(), true),
            }
        }
        add_varint((rows.div_ceil(8) as u64) << 1 | 1, page);
        page.extend_from_slice(bits.as_slice());
    }
    let length = (page.len() - begin - 4) as u32;
    page[begin..begin + 4].copy_from_slice(&length.to_le_bytes());
}

/// Values of a block, and of each of its parts that share a width, of `DELTA_BINARY_PACKED`.
const BLOCK: usize = 128;
const PART: usize = 32;

/// A number that is told by its difference to the one before, which may go round the ends of its type.
pub(super) trait Whole: Copy + Default + Ord {
    fn minus(self, other: Self) -> Self;
    fn wide(self) -> i64;
    /// As if it had no sign.
    fn bits(self) -> u64;
}

impl Whole for i32 {
    #[inline]
    fn minus(self, other: Self) -> Self {
        self.wrapping_sub(other)
    }

    #[inline]
    fn wide(self) -> i64 {
        self.into()
    }

    #[inline]
    fn bits(self) -> u64 {
        self.cast_unsigned().into()
    }
}

impl Whole for i64 {
    #[inline]
    fn minus(self, other: Self) -> Self {
        self.wrapping_sub(other)
    }

    #[inline]
    fn wide(self) -> i64 {
        self
    }

    #[inline]
    fn bits(self) -> u64 {
        self.cast_unsigned()
    }
}

/// Numbers as `DELTA_BINARY_PACKED`.
pub(super) fn add_differences<N: Whole>(numbers: &[N], page: &mut Vec<u8>) {
    add_varint(BLOCK as u64, page);
    add_varint((BLOCK / PART) as u64, page);
    add_varint(numbers.len() as u64, page);
    add_zigzag(numbers.first().map_or(0, |first| first.wide()), page);
    for (block, before) in numbers.get(1..).unwrap_or_default().chunks(BLOCK).zip(numbers.chunks(BLOCK)) {
        let mut differences = [N::default(); BLOCK];
        for ((difference, number), before) in differences.iter_mut().zip(block).zip(before) {
            *difference = number.minus(*before);
        }
        let least = differences[..block.len()].iter().copied().min().unwrap_or_default();
        add_zigzag(least.wide(), page);
        let widths = page.len();
        page.extend_from_slice(&[0; BLOCK / PART]);
        for (index, part) in differences.chunks(PART).enumerate() {
            let used = block.len().saturating_sub(index * PART).min(PART);
            let mut above = [0_u64; PART];
            for (above, difference) in above.iter_mut().zip(&part[..used]) {
                *above = difference.minus(least).bits();
            }
            let width = u64::BITS - above.iter().fold(0, |all, number| all | number).leading_zeros();
            page[widths + index] = width as u8;
            add_packed(above, width, page);
        }
    }
}

/// Equal numbers that are told as one: fewer are not worth the end of what is packed.
const RUN: usize = 16;

/// Numbers that are packed together.
const GROUP: usize = 8;

/// Numbers of so many bits in the hybrid of runs and packed groups, after their width.
pub(super) fn add_runs(numbers: &[u32], width: u32, page: &mut Vec<u8>) {
    page.push(width as u8);
    let (mut packed, mut at) = (0, 0);
    while at < numbers.len() {
        let run = numbers[at..].iter().take_while(|number| **number == numbers[at]).count();
        if run < RUN && width > 0 {
            at = numbers.len().min(at + GROUP);
            continue;
        }
        add_groups(&numbers[packed..at], width, page);
        add_varint((run as u64) << 1, page);
        page.extend_from_slice(&numbers[at].to_le_bytes()[..width.div_ceil(8) as usize]);
        at += run;
        packed = at;
    }
    add_groups(&numbers[packed..], width, page);
}

fn add_groups(numbers: &[u32], width: u32, page: &mut Vec<u8>) {
    if numbers.is_empty() {
        return;
    }
    add_varint((numbers.len().div_ceil(GROUP) as u64) << 1 | 1, page);
    let (groups, rest) = numbers.as_chunks::<GROUP>();
    add_packed(groups.as_flattened().iter().copied().map(u64::from), width, page);
    if !rest.is_empty() {
        let mut last = [0_u32; GROUP];
        last[..rest.len()].copy_from_slice(rest);
        add_packed(last.map(u64::from), width, page);
    }
}

/// The bits that a number takes.
pub(super) fn width(number: u32) -> u32 {
    u32::BITS - number.leading_zeros()
}

/// Numbers of so many bits each, the first in the lowest bits; a multiple of eight of them, so that they fill bytes.
fn add_packed(numbers: impl IntoIterator<Item = u64>, width: u32, page: &mut Vec<u8>) {
    if width == 0 {
        return;
    }
    let (mut word, mut filled) = (0_u64, 0);
    for number in numbers {
        word |= number << filled;
        filled += width;
        if filled >= u64::BITS {
            page.extend_from_slice(&word.to_le_bytes());
            filled -= u64::BITS;
            // The bits that had no room; all of them had if none is left over.
            word = number.checked_shr(width - filled).unwrap_or(0);
        }
    }
    page.extend_from_slice(&word.to_le_bytes()[..filled.div_ceil(8) as usize]);
}

fn add_zigzag(number: i64, page: &mut Vec<u8>) {
    add_varint((number << 1 ^ number >> 63) as u64, page);
}

fn add_varint(mut number: u64, page: &mut Vec<u8>) {
    while number >= 0x80 {
        page.push(number as u8 | 0x80);
        number >>= 7;
    }
    page.push(number as u8);
}
