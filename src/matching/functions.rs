//! The SQL functions that matching is written in.
//!
//! | Function | Gives |
//! |---|---|
//! | `match_text(text)` | the text as keys compare: trimmed, without case, composed (NFC); blank is NULL |
//! | `match_id(text)` | an id or other exact key: trimmed, a Salesforce id with 18 characters; blank is NULL |
//! | `match_set(text)` | labels joined with `;` as a set compares: sorted, without repetition; blank is NULL |
//! | `sf_id18(text)` | a Salesforce id with 18 characters; NULL if it is none |
//! | `trim_text(text)` | the text without Unicode white space at both ends; blank is NULL |
//! | `number_text(double)` | the shortest decimal text that is this number, never with an exponent |
//! | `key_hash(part, …)` | a number that is the same for equal keys; NULL if a part is NULL |
//! | `repeated(number)` | over many rows: the numbers that come more than once, as a list |
//!
//! All are immutable, so that the optimiser computes a key once. Every kind of string array is taken; the result is
//! always `Utf8`, so that two keys of one join have one type. Text that is plain ASCII, nearly all of it, is handled a
//! batch at a time.

use std::borrow::Cow;
use std::sync::Arc;

use datafusion::arrow::array::Array;
use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::array::AsArray;
use datafusion::arrow::array::StringArray;
use datafusion::arrow::array::StringBuilder;
use datafusion::arrow::buffer::Buffer;
use datafusion::arrow::buffer::OffsetBuffer;
use datafusion::arrow::compute::cast;
use datafusion::arrow::compute::take;
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::datatypes::Float64Type;
use datafusion::common::types::logical_string;
use datafusion::common::utils::take_function_args;
use datafusion::error::DataFusionError;
use datafusion::error::Result;
use datafusion::execution::context::SessionContext;
use datafusion::logical_expr::AggregateUDF;
use datafusion::logical_expr::Coercion;
use datafusion::logical_expr::ColumnarValue;
use datafusion::logical_expr::EncodingPreservation;
use datafusion::logical_expr::ScalarFunctionArgs;
use datafusion::logical_expr::ScalarUDF;
use datafusion::logical_expr::ScalarUDFImpl;
use datafusion::logical_expr::Signature;
use datafusion::logical_expr::TypeSignatureClass;
use datafusion::logical_expr::Volatility;
use datafusion::scalar::ScalarValue;

use crate::engine::lookup::KeyHash;
use crate::matching::repeated::Repeated;
use crate::matching::text;

/// Makes the functions known to a session. The statements of [`compile`](crate::matching::compile) need them.
pub fn register(ctx: &SessionContext) {
    for rule in [Rule::MatchText, Rule::MatchId, Rule::MatchSet, Rule::SfId18, Rule::TrimText, Rule::NumberText] {
        ctx.register_udf(ScalarUDF::new_from_impl(TextFunction::new(rule)));
    }
    ctx.register_udf(ScalarUDF::new_from_impl(KeyHash::new()));
    ctx.register_udaf(AggregateUDF::new_from_impl(Repeated::new()));
}

/// Which function it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Rule {
    MatchText,
    MatchId,
    MatchSet,
    SfId18,
    TrimText,
    NumberText,
}

/// A function of one argument that gives text.
#[derive(Debug, PartialEq, Eq, Hash)]
struct TextFunction {
    rule: Rule,
    signature: Signature,
}

impl TextFunction {
    fn new(rule: Rule) -> Self {
        let signature = match rule {
            Rule::NumberText => Signature::exact(vec![DataType::Float64], Volatility::Immutable),
            _ => Signature::coercible(
                vec![
                    Coercion::new_exact(TypeSignatureClass::Native(logical_string()))
                        .with_encoding_preservation(EncodingPreservation::dictionary()),
                ],
                Volatility::Immutable,
            ),
        };
        Self { rule, signature }
    }
}

impl ScalarUDFImpl for TextFunction {
    fn name(&self) -> &str {
        match self.rule {
            Rule::MatchText => "match_text",
            Rule::MatchId => "match_id",
            Rule::MatchSet => "match_set",
            Rule::SfId18 => "sf_id18",
            Rule::TrimText => "trim_text",
            Rule::NumberText => "number_text",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [argument] = take_function_args(self.name(), args.args)?;
        match argument {
            ColumnarValue::Array(array) => Ok(ColumnarValue::Array(apply(self.rule, &array)?)),
            ColumnarValue::Scalar(scalar) => {
                let one = apply(self.rule, &scalar.to_array()?)?;
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&one, 0)?))
            }
        }
    }
}

fn apply(rule: Rule, array: &ArrayRef) -> Result<ArrayRef> {
    match array.data_type() {
        DataType::Float64 => {
            let numbers = array.as_primitive::<Float64Type>();
            let mut out = StringBuilder::with_capacity(numbers.len(), numbers.len() * 8);
            numbers.iter().for_each(|number| out.append_option(number.map(|number| number.to_string())));
            Ok(Arc::new(out.finish()))
        }
        DataType::Utf8 => {
            let strings = array.as_string::<i32>();
            match fast(rule, strings)? {
                Some(done) => Ok(done),
                None => Ok(Arc::new(each(rule, strings.iter(), strings.len(), strings.value_data().len()))),
            }
        }
        DataType::Utf8View => {
            let strings = array.as_string_view();
            Ok(Arc::new(each(rule, strings.iter(), strings.len(), strings.len() * 16)))
        }
        DataType::LargeUtf8 => {
            let strings = array.as_string::<i64>();
            Ok(Arc::new(each(rule, strings.iter(), strings.len(), strings.value_data().len())))
        }
        DataType::Dictionary(..) => {
            let dictionary = array.as_any_dictionary();
            let values = apply(rule, dictionary.values())?;
            Ok(take(&values, dictionary.keys(), None)?)
        }
        DataType::Null => Ok(cast(array, &DataType::Utf8)?),
        other => Err(DataFusionError::Internal(format!("a text function was given {other}"))),
    }
}

fn each<'a>(rule: Rule, strings: impl Iterator<Item = Option<&'a str>>, rows: usize, bytes: usize) -> StringArray {
    let one: for<'b> fn(&'b str) -> Option<Cow<'b, str>> = match rule {
        Rule::MatchText => text::match_text,
        Rule::MatchId => text::match_id,
        Rule::MatchSet => text::match_set,
        Rule::SfId18 => text::sf_id18,
        Rule::TrimText | Rule::NumberText => text::trim_text,
    };
    let mut out = StringBuilder::with_capacity(rows, bytes);
    for string in strings {
        out.append_option(string.and_then(one));
    }
    out.finish()
}

/// A whole batch at once, where that is possible: no cell is empty or begins or ends with white space, and
/// for `match_text` all is ASCII, for `match_id` every id has 18 characters already.
fn fast(rule: Rule, strings: &StringArray) -> Result<Option<ArrayRef>> {
    let offsets = strings.value_offsets();
    let (Some(&first), Some(&last)) = (offsets.first(), offsets.last()) else { return Ok(None) };
    // a batch may be a slice of a far larger array: only its own bytes are looked at
    let data = &strings.value_data()[first as usize..last as usize];
    let tight = |length: Option<i32>| {
        offsets.windows(2).enumerate().all(|(row, ends)| {
            let (from, to) = ((ends[0] - first) as usize, (ends[1] - first) as usize);
            if from == to {
                return strings.is_null(row);
            }
            data[from].is_ascii_graphic()
                && data[to - 1].is_ascii_graphic()
                && length.is_none_or(|length| ends[1] - ends[0] == length)
        })
    };
    match rule {
        Rule::MatchText if data.is_ascii() && tight(None) => {
            if !data.iter().any(u8::is_ascii_uppercase) {
                return Ok(Some(Arc::new(strings.clone())));
            }
            let lower = Buffer::from_vec(data.to_ascii_lowercase());
            let offsets = match first {
                0 => strings.offsets().clone(),
                _ => OffsetBuffer::new(offsets.iter().map(|offset| offset - first).collect()),
            };
            Ok(Some(Arc::new(StringArray::try_new(offsets, lower, strings.nulls().cloned())?)))
        }
        Rule::MatchId if tight(Some(18)) => Ok(Some(Arc::new(strings.clone()))),
        Rule::TrimText if tight(None) => Ok(Some(Arc::new(strings.clone()))),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::DictionaryArray;
    use datafusion::arrow::array::LargeStringArray;
    use datafusion::arrow::array::StringViewArray;
    use datafusion::arrow::datatypes::Int32Type;

    use super::*;

    fn texts(array: &ArrayRef) -> Vec<Option<String>> {
        array.as_string::<i32>().iter().map(|text| text.map(str::to_owned)).collect()
    }

    #[test]
    fn every_kind_of_string_array_gives_the_same() {
        let batches: [&[Option<&str>]; 4] = [
            &[Some(" Jane@X.org "), None, Some(""), Some("\u{a0}"), Some("ÄRGER"), Some("001bm00000NMK67")],
            &[Some("Jane@X.org"), None, Some("B")],
            &[Some("jane@x.org"), None, Some("b")],
            &[Some("001bm00000NMK67AAH"), None],
        ];
        for rule in [Rule::MatchText, Rule::MatchId, Rule::MatchSet, Rule::SfId18, Rule::TrimText] {
            for cells in batches {
                let plain = texts(&apply(rule, &(Arc::new(StringArray::from(cells.to_vec())) as _)).unwrap());
                let slow: Vec<_> = texts(&(Arc::new(each(rule, cells.iter().copied(), cells.len(), 0)) as ArrayRef));
                assert_eq!(plain, slow, "{rule:?}");
                let others: [ArrayRef; 3] = [
                    Arc::new(StringViewArray::from(cells.to_vec())),
                    Arc::new(LargeStringArray::from(cells.to_vec())),
                    Arc::new(cells.iter().copied().collect::<DictionaryArray<Int32Type>>()),
                ];
                for other in others {
                    assert_eq!(texts(&apply(rule, &other).unwrap()), plain, "{rule:?} of {}", other.data_type());
                }
            }
        }
    }

    #[test]
    fn a_slice_keeps_to_its_own_rows() {
        let whole = StringArray::from(vec![Some(" X "), Some("Ab"), None, Some("cD")]);
        let slice: ArrayRef = Arc::new(whole.slice(1, 3));
        assert_eq!(
            texts(&apply(Rule::MatchText, &slice).unwrap()),
            [Some("ab".to_owned()), None, Some("cd".to_owned())]
        );
    }
}
