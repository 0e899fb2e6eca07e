//! Pages of texts.

use arrow::array::Array;
use arrow::array::ArrayRef;
use arrow::array::AsArray;
use arrow::array::StringArray;
use parquet::basic::Encoding;
use parquet::column::page::CompressedPage;
use parquet::column::page::Page;
use parquet::data_type::ByteArray;
use parquet::file::statistics::Statistics;
use parquet::file::statistics::ValueStatistics;

use super::PAGE_BYTES;
use super::Result;
use super::dictionary::Dictionary;
use super::encodings;
use super::number;
use super::other_type;

/// Bytes of texts in a dictionary: one that outgrows a core's own cache is slower than none.
pub(super) const DICTIONARY_BYTES: usize = 1 << 20;

/// Bytes of a least or greatest text: of a longer one, a reader would have to be told that it was cut.
pub(super) const TOLD_BYTES: usize = 64;

/// What is known of a column of texts.
pub(super) struct Texts {
    dictionary: Option<Dictionary>,
    ends: Ends,
    /// Lengths or numbers of a page's texts.
    lengths: Vec<i32>,
    numbers: Vec<u32>,
}

impl Texts {
    pub(super) fn new(dictionary: bool) -> Self {
        Self {
            dictionary: dictionary.then(Dictionary::new),
            ends: Ends::default(),
            lengths: Vec::new(),
            numbers: Vec::new(),
        }
    }

    /// How many of the first texts fit into a page that holds so many bytes, and how long they are; at least the `least`.
    pub(super) fn fit(&self, texts: &ArrayRef, held: usize, least: usize) -> Result<(usize, usize)> {
        let texts = text(texts)?;
        let offsets = texts.value_offsets();
        // Numbers take little room, but their texts are held until the page ends.
        let room = if self.numbered() { DICTIONARY_BYTES } else { PAGE_BYTES }.saturating_sub(held);
        let length = |rows: usize| (offsets[rows] - offsets[0]) as usize;
        let rows = offsets[1..].partition_point(|end| (end - offsets[0]) as usize <= room).max(least);
        Ok((rows, length(rows)))
    }

    pub(super) fn memory_size(&self) -> usize {
        self.dictionary.as_ref().map_or(0, |dictionary| dictionary.page().len())
    }

    /// Whether the next page names its texts by their numbers.
    fn numbered(&self) -> bool {
        self.dictionary.as_ref().is_some_and(|dictionary| dictionary.page().len() <= DICTIONARY_BYTES)
    }

    /// Adds a page's texts, which are so many bytes.
    pub(super) fn add_page(
        &mut self,
        held: &[ArrayRef],
        bytes: usize,
        statistics: bool,
        page: &mut Vec<u8>,
    ) -> Result<Encoding> {
        let texts = held.iter().map(text).collect::<Result<Vec<_>>>()?;
        let numbered = self.numbered();
        match &mut self.dictionary {
            Some(dictionary) if numbered => {
                self.numbers.clear();
                texts.iter().for_each(|texts| number_all(texts, dictionary, &mut self.numbers));
                let greatest = dictionary.len().saturating_sub(1);
                encodings::add_runs(&self.numbers, encodings::width(number(greatest)?), page);
                Ok(Encoding::RLE_DICTIONARY)
            }
            _ => {
                if statistics {
                    texts.iter().for_each(|texts| self.ends.add_all(texts));
                }
                add_texts(&texts, bytes, &mut self.lengths, page);
                Ok(Encoding::DELTA_LENGTH_BYTE_ARRAY)
            }
        }
    }

    /// The page of the texts that were named by numbers.
    pub(super) fn dictionary_page(&self, compressed: bool) -> Result<Option<CompressedPage>> {
        let Some(dictionary) = &self.dictionary else { return Ok(None) };
        let body = dictionary.page();
        let page = Page::DictionaryPage {
            buf: if compressed { lz4_flex::block::compress(body).into() } else { body.to_vec().into() },
            num_values: number(dictionary.len())?,
            encoding: Encoding::PLAIN,
            is_sorted: false,
        };
        Ok(Some(CompressedPage::new(page, body.len())))
    }

    pub(super) fn told(mut self, nulls: u64) -> Statistics {
        if let Some(dictionary) = &self.dictionary {
            dictionary.texts().for_each(|text| self.ends.add(text));
        }
        self.ends.told(nulls)
    }
}

fn text(texts: &ArrayRef) -> Result<&StringArray> {
    texts.as_string_opt().ok_or_else(other_type)
}

/// The least and the greatest of the texts.
#[derive(Debug, Default)]
struct Ends(Option<(Vec<u8>, Vec<u8>)>);

impl Ends {
    fn add_all(&mut self, texts: &StringArray) {
        if let (Some(least), Some(greatest)) = (texts.iter().flatten().min(), texts.iter().flatten().max()) {
            self.add(least.as_bytes());
            self.add(greatest.as_bytes());
        }
    }

    fn add(&mut self, text: &[u8]) {
        let (least, greatest) = self.0.get_or_insert_with(|| (text.to_vec(), text.to_vec()));
        if text < least.as_slice() {
            text.clone_into(least);
        }
        if text > greatest.as_slice() {
            text.clone_into(greatest);
        }
    }

    fn told(self, nulls: u64) -> Statistics {
        let (least, greatest) =
            self.0.filter(|(least, greatest)| least.len().max(greatest.len()) <= TOLD_BYTES).unzip();
        let known =
            ValueStatistics::new(least.map(ByteArray::from), greatest.map(ByteArray::from), None, Some(nulls), false);
        Statistics::ByteArray(known)
    }
}

/// Where each text that is not null begins and ends in the bytes of all.
#[inline]
fn each_valid(texts: &StringArray, mut take: impl FnMut(usize, usize)) {
    let nulls = texts.nulls().filter(|nulls| nulls.null_count() > 0);
    for (row, [start, end]) in texts.value_offsets().array_windows().enumerate() {
        if nulls.is_none_or(|nulls| nulls.is_valid(row)) {
            take(*start as usize, *end as usize);
        }
    }
}

/// The numbers of the texts that are not null.
fn number_all(texts: &StringArray, dictionary: &mut Dictionary, numbers: &mut Vec<u32>) {
    let bytes = texts.value_data();
    numbers.reserve(texts.len());
    each_valid(texts, |start, end| numbers.push(dictionary.number(bytes, start, end)));
}

/// The lengths of the texts that are not null, and the texts.
fn add_texts(pieces: &[&StringArray], bytes: usize, lengths: &mut Vec<i32>, page: &mut Vec<u8>) {
    lengths.clear();
    for piece in pieces {
        let each = piece.value_offsets().array_windows::<2>().map(|[start, end]| end - start);
        match piece.nulls() {
            Some(nulls) if nulls.null_count() > 0 => {
                lengths.extend(each.zip(nulls.inner()).filter(|(_, valid)| *valid).map(|(length, _)| length));
            }
            _ => lengths.extend(each),
        }
    }
    // A null may stand over bytes; they are no part of the column.
    let uncovered = lengths.iter().map(|length| *length as usize).sum::<usize>() == bytes;
    page.reserve(bytes + lengths.len() * 2 + 64);
    encodings::add_differences(lengths, page);
    for piece in pieces {
        if uncovered {
            let offsets = piece.value_offsets();
            page.extend_from_slice(&piece.value_data()[offsets[0] as usize..offsets[piece.len()] as usize]);
        } else {
            piece.iter().flatten().for_each(|text| page.extend_from_slice(text.as_bytes()));
        }
    }
}
