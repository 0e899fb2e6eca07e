//! Where the cells of a CSV record are.
//!
//! The dialect is RFC 4180: Salesforce writes every value quoted, Gainsight's exports only those that need it; quotes are
//! doubled, line breaks allowed in quotes, rows ended by LF or CR LF. arrow-csv reads the same (a property test
//! compares the two), but looks at every byte in turn and copies each cell twice; this looks for the quotes of 64 bytes at a
//! time, and the cells go from the page straight into their columns.

use datafusion::arrow::buffer::BooleanBuffer;
use wide::u8x16;

/// One cell of the scanned bytes, without its quotes. Small, as thousands are looked at again for each column.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Span {
    start: u32,
    /// The highest bit says whether it holds doubled quotes.
    end: u32,
}

/// Bytes in which cells can be told: a record that ends later is none that anybody sends.
const MOST: usize = (1 << 31) - 1;

impl Span {
    /// A cell that ends within [`MOST`] bytes.
    fn new(start: usize, end: usize, doubled: bool) -> Self {
        Self { start: start as u32, end: end as u32 | (u32::from(doubled) << 31) }
    }

    /// All of `bytes`, which is a cell's value as it is; `None` if that is too much.
    pub(super) fn whole(bytes: &[u8]) -> Option<Self> {
        (bytes.len() <= MOST).then(|| Self::new(0, bytes.len(), false))
    }

    #[inline]
    pub(super) fn start(self) -> usize {
        self.start as usize
    }

    #[inline]
    pub(super) fn end(self) -> usize {
        (self.end & (MOST as u32)) as usize
    }

    #[inline]
    pub(super) fn length(self) -> usize {
        self.end() - self.start()
    }

    #[inline]
    pub(super) fn doubled(self) -> bool {
        self.end >> 31 == 1
    }

    #[inline]
    pub(super) fn is_empty(self) -> bool {
        self.length() == 0
    }
}

/// One column of scanned records.
#[derive(Debug, Clone, Copy)]
pub(super) struct ColumnSpans<'a> {
    /// The cells of the records, one record after the other.
    pub(super) cells: &'a [Span],
    /// Cells of a record.
    pub(super) width: usize,
    pub(super) column: usize,
}

impl ColumnSpans<'_> {
    #[inline]
    pub(super) fn iter(&self) -> impl Iterator<Item = Span> + '_ {
        self.cells.chunks_exact(self.width).map(|record| record[self.column])
    }

    pub(super) fn rows(&self) -> usize {
        self.cells.len() / self.width
    }

    /// Which cells hold something.
    pub(super) fn filled(&self) -> BooleanBuffer {
        BooleanBuffer::collect_bool(self.rows(), |row| !self.cells[row * self.width + self.column].is_empty())
    }
}

/// What a scan found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scanned {
    /// A record, and where it ends, its line end included; blank lines before it are passed over.
    Record(usize),
    /// The bytes end within a record, or there are none but blank lines.
    Incomplete,
    /// Something follows a closing quote, a quote is not closed at the end, or the record ends too far from the first byte.
    Malformed,
}

/// Finds the first record in `bytes` and puts its cells into `cells`. With `last`, the end of the bytes ends a record.
pub(super) fn scan(bytes: &[u8], last: bool, cells: &mut Vec<Span>) -> Scanned {
    cells.clear();
    scan_on(bytes, 0, last, cells)
}

/// As [`scan`], for the record that begins at `from`: its cells are added, and it is found to end that many bytes after
/// the start of `bytes`.
pub(super) fn scan_on(bytes: &[u8], from: usize, last: bool, cells: &mut Vec<Span>) -> Scanned {
    let length = bytes.len();
    let blank = bytes[from..].iter().take_while(|byte| matches!(byte, b'\n' | b'\r')).count();
    let mut at = from + blank;
    if at == length {
        return Scanned::Incomplete;
    }
    let mut quotes = Quotes::of(bytes, at);
    loop {
        if bytes.get(at) == Some(&b'"') {
            // Up to its own: quotes within a cell that does not begin with one mean nothing.
            while quotes.next().is_some_and(|found| found < at) {}
            let start = at + 1;
            let mut end;
            let mut doubled = false;
            loop {
                let Some(found) = quotes.next() else {
                    return if last { Scanned::Malformed } else { Scanned::Incomplete };
                };
                end = found;
                match bytes.get(end + 1) {
                    Some(b'"') => {
                        doubled = true;
                        quotes.next();
                    }
                    None if !last => return Scanned::Incomplete,
                    _ => break,
                }
            }
            cells.push(Span::new(start, end, doubled));
            at = end + 1;
        } else {
            let found = memchr::memchr3(b',', b'\n', b'\r', &bytes[at..]);
            let end = match found {
                Some(found) => at + found,
                None if last => length,
                None => return Scanned::Incomplete,
            };
            cells.push(Span::new(at, end, false));
            at = end;
        }
        if at > MOST {
            return Scanned::Malformed;
        }
        match bytes.get(at) {
            Some(b',') => at += 1,
            Some(b'\n') => return Scanned::Record(at + 1),
            Some(b'\r') => match bytes.get(at + 1) {
                Some(b'\n') => return Scanned::Record(at + 2),
                None if !last => return Scanned::Incomplete,
                _ => return Scanned::Record(at + 1),
            },
            Some(_) => return Scanned::Malformed,
            None => return Scanned::Record(length), // only with `last`: an open end was incomplete above
        }
    }
}

/// Finds the records from `from` on of which every cell is quoted, as Salesforce writes them: as many as `cells` has room
/// for and begin less than `most` bytes further on. Tells how many, and where they end. It stops before a record that is
/// not whole, has not `width` cells or is written otherwise, which is for [`scan_on`] to judge.
pub(super) fn scan_quoted(bytes: &[u8], from: usize, most: usize, width: usize, cells: &mut [Span]) -> (usize, usize) {
    let (mut records, mut end) = (0, from);
    if bytes.len() > MOST || width == 0 {
        return (records, end);
    }
    let mut quotes = Quotes::of(bytes, from);
    for record in cells.chunks_exact_mut(width) {
        if end - from >= most {
            break;
        }
        let mut at = end;
        for (column, cell) in record.iter_mut().enumerate() {
            match quotes.cell(at, if column + 1 == width { b'\n' } else { b',' }) {
                Some(found) => *cell = found,
                None => return (records, end),
            }
            at = cell.end() + 2;
        }
        end = at;
        records += 1;
    }
    (records, end)
}

/// Bytes that are looked at together.
const BLOCK: usize = 64;

/// Where the quotes are, one after the other.
struct Quotes<'a> {
    bytes: &'a [u8],
    base: usize,
    /// Which of the bytes from `base` on are quotes that have not been told yet.
    left: u64,
}

impl<'a> Quotes<'a> {
    /// From `base` on.
    #[inline]
    fn of(bytes: &'a [u8], base: usize) -> Self {
        Self { bytes, base, left: quotes_from(bytes, base) }
    }

    #[inline]
    fn next(&mut self) -> Option<usize> {
        if self.left == 0 {
            (self.base, self.left) = next_quotes(self.bytes, self.base + BLOCK);
            if self.left == 0 {
                return None;
            }
        }
        let found = self.base + self.left.trailing_zeros() as usize;
        self.left &= self.left - 1;
        Some(found)
    }

    /// The quoted cell that begins at `at`, where the next quote must be, with this byte after it.
    #[inline]
    fn cell(&mut self, at: usize, after: u8) -> Option<Span> {
        let mut doubled = false;
        if self.next()? != at {
            return None;
        }
        loop {
            let end = self.next()?;
            let found = *self.bytes.get(end + 1)?;
            if found == after {
                return Some(Span::new(at + 1, end, doubled));
            }
            if found != b'"' {
                return None;
            }
            doubled = true;
            self.next();
        }
    }
}

/// The first block from `base` on that has quotes, and which of its bytes they are. Where there is none, no byte is.
///
/// Apart, so that what is known of a block stays in registers while its quotes are told.
#[inline(never)]
fn next_quotes(bytes: &[u8], mut base: usize) -> (usize, u64) {
    while base < bytes.len() {
        let quotes = quotes_from(bytes, base);
        if quotes != 0 {
            return (base, quotes);
        }
        base += BLOCK;
    }
    (base, 0)
}

/// Which of the bytes from `base` on are quotes.
#[inline]
fn quotes_from(bytes: &[u8], base: usize) -> u64 {
    let rest = bytes.get(base..).unwrap_or_default();
    if let Some(block) = rest.first_chunk() {
        return quotes_of(block);
    }
    let mut block = [0; BLOCK];
    block[..rest.len()].copy_from_slice(rest);
    quotes_of(&block)
}

/// Which bytes are quotes.
#[inline]
fn quotes_of(block: &[u8; BLOCK]) -> u64 {
    let parts = block.as_chunks().0.iter().zip((0..).step_by(16));
    parts.fold(0, |quotes, (part, at)| {
        quotes | u64::from(u8x16::new(*part).simd_eq(u8x16::splat(b'"')).to_bitmask()) << at
    })
}

/// The cell with its doubled quotes made single, in `scratch` if there were any.
#[inline]
pub(super) fn cell<'a>(bytes: &'a [u8], span: Span, scratch: &'a mut Vec<u8>) -> &'a [u8] {
    let quoted = &bytes[span.start()..span.end()];
    if !span.doubled() {
        return quoted;
    }
    scratch.clear();
    add_single(quoted, scratch);
    scratch
}

/// The same of text that is known to be UTF-8. A border of cells is a border of characters: quotes, commas and line ends
/// are single bytes.
#[inline]
pub(super) fn text<'a>(text: &'a str, span: Span, scratch: &'a mut String) -> &'a str {
    let cell = text.get(span.start()..span.end()).unwrap_or_default();
    if !span.doubled() {
        return cell;
    }
    *scratch = cell.replace("\"\"", "\"");
    scratch
}

/// Adds a cell with its doubled quotes made single.
fn add_single(mut quoted: &[u8], out: &mut Vec<u8>) {
    while let Some(found) = memchr::memchr(b'"', quoted) {
        out.extend_from_slice(&quoted[..=found]);
        quoted = quoted.get(found + 2..).unwrap_or_default();
    }
    out.extend_from_slice(quoted);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(text: &str, last: bool) -> (Scanned, Vec<String>) {
        let mut cells = Vec::new();
        let scanned = scan(text.as_bytes(), last, &mut cells);
        let texts = cells.iter().map(|span| {
            let mut scratch = Vec::new();
            String::from_utf8(cell(text.as_bytes(), *span, &mut scratch).to_vec()).unwrap()
        });
        (scanned, texts.collect())
    }

    #[test]
    fn records_are_found() {
        for (text, took, cells) in [
            ("\"a\",\"b\"\nrest", 8, vec!["a", "b"]),
            ("\"a\",\"b\"\r\nrest", 9, vec!["a", "b"]),
            ("\"a\"\rrest", 4, vec!["a"]),
            ("\n\r\na,b\n", 7, vec!["a", "b"]),
            (",\n", 2, vec!["", ""]),
            ("\"\",\"\"\"\"\n", 8, vec!["", "\""]),
            ("\"a\"\"b\"\"\",\"c\nd\"\n", 15, vec!["a\"b\"", "c\nd"]),
            ("a\"b,c\n", 6, vec!["a\"b", "c"]),
            ("a\"b,\"c\",d\"\"\"e,\"\"\n", 17, vec!["a\"b", "c", "d\"\"\"e", ""]),
        ] {
            assert_eq!(
                record(text, false),
                (Scanned::Record(took), cells.iter().map(ToString::to_string).collect()),
                "{text:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn quotes_are_found_where_they_are(
            bytes in prop::collection::vec(prop_oneof![Just(b'"'), Just(b'"' ^ 0x80), Just(b'"' + 1), any::<u8>()], 0..200),
            from in 0_usize..70,
        ) {
            let mut quotes = Quotes::of(&bytes, from);
            let found: Vec<_> = std::iter::from_fn(|| quotes.next()).collect();
            let wanted: Vec<_> = (from..bytes.len()).filter(|at| bytes[*at] == b'"').collect();
            prop_assert_eq!(found, wanted);
        }

        #[test]
        fn records_found_together_are_those_found_one_by_one(
            text in "(\"([aé,\n\r]|\"\"){0,40}\"[,\n]|[a,\"\r\n]){0,60}",
            width in 1_usize..4,
            room in 0_usize..9,
            most in prop_oneof![Just(usize::MAX), 0_usize..99],
        ) {
            let bytes = text.as_bytes();
            let mut together = vec![Span::default(); room * width];
            let (records, end) = scan_quoted(bytes, 0, most, width, &mut together);
            let (mut single, mut at) = (Vec::new(), 0);
            for record in 0..records {
                prop_assert!(at < most);
                let Scanned::Record(end) = scan_on(bytes, at, false, &mut single) else { panic!("{text:?} at {at}") };
                prop_assert_eq!(single.len(), (record + 1) * width);
                at = end;
            }
            prop_assert_eq!(at, end);
            prop_assert_eq!(&single, &together[..records * width]);
            // It stops only where there is a reason to.
            if records < room && end < most && scan_on(bytes, end, false, &mut single) == Scanned::Record(bytes.len()) {
                let quoted = single[records * width..].iter().all(|cell| bytes[..cell.start()].ends_with(b"\""));
                let ended = bytes.ends_with(b"\n") && !bytes.ends_with(b"\r\n") && bytes[end] == b'"';
                prop_assert!(!quoted || !ended || single.len() != (records + 1) * width, "{text:?} from {end}");
            }
        }
    }

    #[test]
    fn an_open_end_is_incomplete_until_it_is_the_last() {
        for (text, cells) in
            [("\"a\",\"b\"", vec!["a", "b"]), ("a,b", vec!["a", "b"]), ("a,", vec!["a", ""]), ("\"a\"\r", vec!["a"])]
        {
            assert_eq!(record(text, false).0, Scanned::Incomplete, "{text:?}");
            let wanted = cells.iter().map(ToString::to_string).collect::<Vec<_>>();
            assert_eq!(record(text, true), (Scanned::Record(text.len()), wanted), "{text:?}");
        }
        assert_eq!(record("\"a", true).0, Scanned::Malformed);
        assert_eq!(record("\"a\"b\n", false).0, Scanned::Malformed);
        assert_eq!(record("\n\n", true).0, Scanned::Incomplete);
    }
}
