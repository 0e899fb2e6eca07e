//! `key_hash(part, …)`: a number for a key of several parts. Equal keys have equal numbers; a key with a NULL part has none.
//!
//! It stands in for the key where only "is it one of those?" is asked about a million rows, and where a wrong yes, which
//! takes two keys out of 2^64, costs time and no more.

use std::sync::Arc;

use datafusion::arrow::array::Array;
use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::array::Int64Array;
use datafusion::arrow::buffer::NullBuffer;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::hash_utils::RandomState;
use datafusion::common::hash_utils::create_hashes;
use datafusion::error::Result;
use datafusion::logical_expr::ColumnarValue;
use datafusion::logical_expr::ScalarFunctionArgs;
use datafusion::logical_expr::ScalarUDFImpl;
use datafusion::logical_expr::Signature;
use datafusion::logical_expr::Volatility;

/// The function.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct KeyHash {
    signature: Signature,
}

impl KeyHash {
    pub(crate) fn new() -> Self {
        Self { signature: Signature::variadic_any(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for KeyHash {
    fn name(&self) -> &str {
        "key_hash"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let parts: Vec<ArrayRef> = args.args.iter().map(|part| part.to_array(rows)).collect::<Result<_>>()?;
        Ok(ColumnarValue::Array(Arc::new(hashes(&parts, rows)?)))
    }
}

pub(crate) fn hashes(parts: &[ArrayRef], rows: usize) -> Result<Int64Array> {
    let mut found = vec![0; rows];
    create_hashes(parts, &RandomState::with_seed(0), &mut found)?;
    let nulls = parts.iter().fold(None, |nulls, part| NullBuffer::union(nulls.as_ref(), part.logical_nulls().as_ref()));
    Ok(Int64Array::new(found.into_iter().map(u64::cast_signed).collect(), nulls))
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::StringArray;

    use super::*;

    #[test]
    fn equal_keys_have_equal_numbers_and_a_null_part_has_none() {
        let column = |cells: &[Option<&str>]| Arc::new(StringArray::from(cells.to_vec())) as ArrayRef;
        let one = column(&[Some("a"), Some("b"), Some("a"), None, Some("ab")]);
        let two = column(&[Some("b"), Some("a"), Some("b"), Some("b"), Some("")]);
        let found = hashes(&[one, two], 5).unwrap();
        assert_eq!(found.value(0), found.value(2));
        assert!(found.value(0) != found.value(1) && found.value(0) != found.value(4));
        assert!(found.is_null(3) && found.null_count() == 1);
    }
}
