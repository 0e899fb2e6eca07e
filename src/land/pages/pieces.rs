//! Bytes that come one behind the other, and are kept as they came.

use std::collections::VecDeque;
use std::io;
use std::io::Read;
use std::io::Write;

use bytes::Buf;
use bytes::Bytes;
use parquet::errors::ParquetError;
use parquet::file::reader::ChunkReader;
use parquet::file::reader::Length;

/// What was written, in pieces.
#[derive(Debug, Clone, Default)]
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

impl Read for Pieces {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while let Some(piece) = self.pieces.front_mut() {
            if piece.is_empty() {
                self.pieces.pop_front();
                continue;
            }
            let taken = piece.len().min(into.len());
            piece.copy_to_slice(&mut into[..taken]);
            return Ok(taken);
        }
        Ok(0)
    }
}

impl Length for Pieces {
    fn len(&self) -> u64 {
        self.size() as u64
    }
}

impl ChunkReader for Pieces {
    type T = Self;

    fn get_read(&self, start: u64) -> Result<Self, ParquetError> {
        let mut rest = self.clone();
        let skipped = io::copy(&mut Read::take(&mut rest, start), &mut io::sink())?;
        if skipped < start {
            return Err(ParquetError::EOF(format!("{skipped} bytes end before byte {start}")));
        }
        Ok(rest)
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let mut bytes = vec![0; length];
        self.get_read(start)?.read_exact(&mut bytes)?;
        Ok(bytes.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_from_anywhere() {
        let page = Bytes::from(vec![7; 5]);
        let mut pieces = Pieces::default();
        pieces.write_all(b"head").unwrap();
        pieces.expect(page.clone());
        pieces.write_all(&[7; 5]).unwrap(); // equal, but others
        pieces.write_all(&page).unwrap();
        pieces.write_all(b"").unwrap();
        pieces.write_all(&page[..2]).unwrap();
        assert!(std::ptr::eq(pieces.pieces[2].as_ref(), page.as_ref()));
        let mut first = Pieces::default();
        first.write_all(b"a").unwrap();
        first.write_all(b"b").unwrap();
        pieces.put_before(first);
        let whole = b"abhead\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07";
        assert_eq!((pieces.size(), pieces.len()), (whole.len(), 18));
        for start in 0..=whole.len() {
            let rest = &whole[start..];
            assert_eq!(pieces.get_bytes(start as u64, rest.len()).unwrap(), rest);
            assert!(pieces.get_bytes(start as u64, rest.len() + 1).is_err());
        }
        assert!(pieces.get_read(19).is_err());
    }
}
