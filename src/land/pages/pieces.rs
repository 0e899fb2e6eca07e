//! Bytes that come one behind the other, and are kept as they came.

use std::collections::VecDeque;
use std::io;
use std::io::Write;
use std::ops::Range;

use bytes::Bytes;
use parquet::errors::ParquetError;
use parquet::file::reader::ChunkReader;
use parquet::file::reader::Length;

/// What was written, in pieces.
#[derive(Debug, Default)]
pub(in crate::land) struct Pieces {
    pieces: VecDeque<Bytes>,
    expected: Bytes,
}

impl Pieces {
    /// Says that these bytes, and not only equal ones, will be written soon: they are kept then instead of a copy.
    pub(super) fn expect(&mut self, bytes: Bytes) {
        self.expected = bytes;
    }

    /// Puts others before these.
    pub(super) fn put_before(&mut self, first: Self) {
        first.pieces.into_iter().rev().for_each(|piece| self.pieces.push_front(piece));
    }

    /// Bytes of all.
    pub(super) fn size(&self) -> usize {
        self.pieces.iter().map(Bytes::len).sum()
    }
}

impl IntoIterator for Pieces {
    type Item = Bytes;
    type IntoIter = std::collections::vec_deque::IntoIter<Bytes>;

    fn into_iter(self) -> Self::IntoIter {
        self.pieces.into_iter()
    }
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let same = std::ptr::eq(self.expected.as_ref(), bytes);
        let piece = if same { std::mem::take(&mut self.expected) } else { Bytes::copy_from_slice(bytes) };
        self.pieces.push_back(piece);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A file as the Parquet crate writes it. What a column holds the crate copies piece by piece; so it is given a [`Blank`] for
/// it, whose bytes are dropped here where they arrive, and the column's pages take their place uncopied.
#[derive(Debug, Default)]
pub(in crate::land) struct FilePieces {
    ready: Vec<Bytes>,
    /// Bytes that have come.
    position: u64,
    /// Where in the file columns will be, in order.
    awaited: VecDeque<(Range<u64>, Pieces)>,
}

impl FilePieces {
    /// Says that from byte `start` of the file on, after those awaited already, there will be a blank for `pages`.
    pub(in crate::land) fn await_column(&mut self, start: u64, pages: Pieces) {
        self.awaited.push_back((start..start + pages.size() as u64, pages));
    }

    /// What has come since it was last asked for.
    pub(in crate::land) fn take(&mut self) -> Vec<Bytes> {
        std::mem::take(&mut self.ready)
    }
}

impl Write for FilePieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let next = self.awaited.front_mut();
            let (border, blank) = match next {
                Some((place, pages)) if place.start <= self.position => {
                    self.ready.extend(std::mem::take(pages));
                    (place.end, true)
                }
                Some((place, _)) => (place.start, false),
                None => (u64::MAX, false),
            };
            let taken = usize::try_from(border - self.position).unwrap_or(usize::MAX).min(rest.len());
            if !blank {
                self.ready.push(Bytes::copy_from_slice(&rest[..taken]));
            }
            rest = &rest[taken..];
            self.position += taken as u64;
            if blank && self.position == border {
                self.awaited.pop_front();
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// So many bytes that are not looked at.
#[derive(Debug, Clone, Copy)]
pub(in crate::land) struct Blank(pub(in crate::land) u64);

impl Length for Blank {
    fn len(&self) -> u64 {
        self.0
    }
}

impl ChunkReader for Blank {
    type T = io::Take<io::Repeat>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        Ok(io::Read::take(io::repeat(0), self.0.saturating_sub(start)))
    }

    fn get_bytes(&self, _: u64, length: usize) -> Result<Bytes, ParquetError> {
        Ok(vec![0; length].into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(of: &[&[u8]]) -> Pieces {
        let mut pieces = Pieces::default();
        of.iter().for_each(|piece| pieces.write_all(piece).unwrap());
        pieces
    }

    #[test]
    fn expected_bytes_are_kept_and_others_copied() {
        let page = Bytes::from(vec![7; 5]);
        let mut written = pieces(&[b"head"]);
        written.expect(page.clone());
        written.write_all(&[7; 5]).unwrap(); // equal, but others
        written.write_all(&page).unwrap();
        written.write_all(&page[..2]).unwrap();
        written.put_before(pieces(&[b"a", b"b"]));
        assert_eq!(written.size(), 18);
        let written: Vec<Bytes> = written.into_iter().collect();
        assert_eq!(written.concat(), b"abhead\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07");
        let kept: Vec<_> = written.iter().map(|piece| std::ptr::eq(piece.as_ref(), page.as_ref())).collect();
        assert_eq!(kept, [false, false, false, false, true, false]);
    }

    #[test]
    fn columns_take_the_place_of_their_blanks_however_those_are_cut() {
        for cut in 1..30 {
            let mut file = FilePieces::default();
            file.await_column(4, pieces(&[b"one", b"1"]));
            file.await_column(8, pieces(&[b"two"]));
            file.await_column(13, pieces(&[b"three"]));
            let mut written = Vec::new();
            for piece in b"PAR1______________end".chunks(cut) {
                file.write_all(piece).unwrap();
                written.extend(file.take());
            }
            assert_eq!(written.concat(), b"PAR1one1two__threeend");
            assert!(file.awaited.is_empty());
        }
    }
}
