//! A column of a table: eight bytes a cell, texts together in large blocks, nothing at all for a column never written.

use super::cell::Cell;

const NULL_TEXT: u64 = u64::MAX;
const NULL_INT: i64 = i64::MIN;
const NULL_BOOL: u8 = 2;
/// Texts never cross a block; blocks are of one size so that growing never copies.
const BLOCK: usize = 1 << 20;
const LENGTH_BITS: u32 = 24;

/// A value read from a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Null,
    /// UTF-8.
    Text(&'a [u8]),
    Int(i64),
    Bool(bool),
}

/// The cells of one field.
#[derive(Debug)]
pub(super) enum Column {
    Text(TextColumn),
    Int(Vec<i64>),
    Bool(Vec<u8>),
}

/// Texts: each cell is a place in the blocks and a length.
#[derive(Debug, Default)]
pub(super) struct TextColumn {
    cells: Vec<u64>,
    blocks: Vec<Vec<u8>>,
    /// Bytes that no cell points to any more.
    waste: usize,
    used: usize,
}

impl Column {
    /// The value in a row; a row never reached is null.
    #[inline]
    pub(super) fn get(&self, row: usize) -> Value<'_> {
        match self {
            Self::Text(column) => column.get(row).map_or(Value::Null, Value::Text),
            Self::Int(cells) => match cells.get(row) {
                None | Some(&NULL_INT) => Value::Null,
                Some(value) => Value::Int(*value),
            },
            Self::Bool(cells) => match cells.get(row) {
                None | Some(&NULL_BOOL) => Value::Null,
                Some(value) => Value::Bool(*value == 1),
            },
        }
    }

    /// Writes a value; a value of another kind than the column's is taken as null.
    #[inline]
    pub(super) fn set(&mut self, row: usize, cell: &Cell<'_>) {
        match (self, cell) {
            (Self::Text(column), Cell::Text(text)) => column.set(row, Some(text.as_bytes())),
            (Self::Text(column), _) => column.set(row, None),
            (Self::Int(cells), Cell::Int(value)) => put(cells, row, *value, NULL_INT),
            (Self::Int(cells), _) => put(cells, row, NULL_INT, NULL_INT),
            (Self::Bool(cells), Cell::Bool(value)) => put(cells, row, u8::from(*value), NULL_BOOL),
            (Self::Bool(cells), _) => put(cells, row, NULL_BOOL, NULL_BOOL),
        }
    }
}

#[inline]
fn put<T: Copy + PartialEq>(cells: &mut Vec<T>, row: usize, value: T, null: T) {
    if row < cells.len() {
        cells[row] = value;
    } else if value != null {
        cells.resize(row, null);
        cells.push(value);
    }
}

impl TextColumn {
    #[inline]
    fn get(&self, row: usize) -> Option<&[u8]> {
        let cell = *self.cells.get(row)?;
        if cell == NULL_TEXT {
            return None;
        }
        let at = (cell >> LENGTH_BITS) as usize;
        let length = (cell & ((1 << LENGTH_BITS) - 1)) as usize;
        let start = at % BLOCK;
        self.blocks[at / BLOCK].get(start..start + length)
    }

    fn set(&mut self, row: usize, text: Option<&[u8]>) {
        if let Some(old) = self.get(row) {
            if Some(old) == text {
                return;
            }
            self.waste += old.len();
        }
        let cell = match text {
            None => NULL_TEXT,
            Some(text) => self.store(text),
        };
        put(&mut self.cells, row, cell, NULL_TEXT);
        if self.waste > 4 * BLOCK && self.waste > self.used / 2 {
            self.compact();
        }
    }

    /// Appends a text, cut to what one block takes; no field is that long.
    fn store(&mut self, text: &[u8]) -> u64 {
        let text = &text[..text.len().min(BLOCK)];
        let fits = self.blocks.last().is_some_and(|block| block.len() + text.len() <= BLOCK);
        if !fits {
            // The first block grows as needed, so that a small table stays small.
            let room = if self.blocks.is_empty() { text.len() } else { BLOCK };
            self.blocks.push(Vec::with_capacity(room));
        }
        let number = self.blocks.len() - 1;
        let block = &mut self.blocks[number];
        let at = number * BLOCK + block.len();
        block.extend_from_slice(text);
        self.used += text.len();
        ((at as u64) << LENGTH_BITS) | text.len() as u64
    }

    fn compact(&mut self) {
        let mut fresh = Self { cells: Vec::with_capacity(self.cells.len()), ..Self::default() };
        for row in 0..self.cells.len() {
            let cell = self.get(row).map_or(NULL_TEXT, |text| fresh.store(text));
            fresh.cells.push(cell);
        }
        *self = fresh;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_read_as_written_over_many_blocks_and_rewrites() {
        let mut column = Column::Text(TextColumn::default());
        let long = "x".repeat(30_000);
        for round in 0..4 {
            for row in (0..400).step_by(2) {
                column.set(row, &Cell::Text(format!("{round}-{row}-{long}").into()));
            }
        }
        for row in (0..400).step_by(2) {
            assert_eq!(column.get(row), Value::Text(format!("3-{row}-{long}").as_bytes()));
            assert_eq!(column.get(row + 1), Value::Null);
        }
        column.set(2, &Cell::Null);
        column.set(4, &Cell::Text("".into()));
        assert_eq!((column.get(2), column.get(4)), (Value::Null, Value::Text(b"")));
        assert_eq!(column.get(100_000), Value::Null);
        if let Column::Text(column) = &column {
            assert!(column.blocks.len() < 20, "old texts are thrown away");
        }
    }
}
