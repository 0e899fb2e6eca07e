//! The decoder against nasty values and every way of cutting a page into chunks.

use datafusion::arrow::array::Array;
use datafusion::arrow::array::AsArray;
use datafusion::arrow::csv::ReaderBuilder;
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::datatypes::Field;
use datafusion::arrow::datatypes::Schema;
use proptest::prelude::*;

use super::*;
use crate::config::ids::sf_id18;
use crate::error::ErrorKind;

fn field(name: &str, kind: &str, data_type: DataType) -> Field {
    Field::new(name, data_type, true).with_metadata([("sf.type".to_owned(), kind.to_owned())].into())
}

fn text_schema(columns: usize) -> SchemaRef {
    let mut fields = vec![field("Id", "id", DataType::Utf8)];
    fields.extend((1..columns).map(|index| field(&format!("Text{index}"), "string", DataType::Utf8)));
    Arc::new(Schema::new(fields))
}

/// As Salesforce writes it: every value quoted, quotes doubled.
fn csv(header: &[&str], rows: &[Vec<String>], end: &str) -> Vec<u8> {
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let quoted: Vec<_> = cells.map(|cell| format!("\"{}\"", cell.replace('"', "\"\""))).collect();
        quoted.join(",") + end
    };
    let mut text = line(&mut header.iter().copied());
    for row in rows {
        text.push_str(&line(&mut row.iter().map(String::as_str)));
    }
    text.into_bytes()
}

fn decode(schema: &SchemaRef, bytes: &[u8], chunk: usize, batch: usize) -> Result<(Vec<RecordBatch>, PageCounts)> {
    let mut decoder = PageDecoder::new(schema, batch)?;
    let mut batches = Vec::new();
    for piece in bytes.chunks(chunk.max(1)) {
        decoder.feed(piece, &mut batches)?;
    }
    let counts = decoder.finish(&mut batches)?;
    Ok((batches, counts))
}

fn texts(batches: &[RecordBatch]) -> Vec<Vec<Option<String>>> {
    let mut rows = Vec::new();
    for batch in batches {
        for row in 0..batch.num_rows() {
            let cells = batch.columns().iter().map(|column| {
                let column = column.as_string::<i32>();
                column.is_valid(row).then(|| column.value(row).to_owned())
            });
            rows.push(cells.collect());
        }
    }
    rows
}

const ID: &str = "001bm00000NMK67AAH";

fn nasty() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("NA".to_owned()),
        Just("None".to_owned()),
        Just("NULL".to_owned()),
        Just("null".to_owned()),
        Just("#N/A".to_owned()),
        Just(String::new()),
        Just(" ".to_owned()),
        Just("  both ends ".to_owned()),
        Just("\n".to_owned()),
        Just("\r\n".to_owned()),
        Just("\r".to_owned()),
        Just("line\r\nbreak\nhere\r".to_owned()),
        Just("\"".to_owned()),
        Just("\"\"".to_owned()),
        Just("a \"lone\" quote\",".to_owned()),
        Just(",".to_owned()),
        Just("\\".to_owned()),
        Just("👩‍👩‍👧 emoji".to_owned()),
        Just("שלום עולם".to_owned()),
        Just("東京都".to_owned()),
        Just("\u{feff}bom".to_owned()),
        "\\PC{0,20}",
        "[\"\\r\\n, a-z]{0,12}",
    ]
}

/// Ids of both lengths, and rarely no id.
fn cell_of_an_id() -> impl Strategy<Value = String> {
    prop_oneof![400 => Just(ID.to_owned()), 400 => Just(ID[..15].to_owned()), 1 => nasty()]
}

/// Texts on both sides of the lengths that are copied in one go.
fn nasty_or_long() -> impl Strategy<Value = String> {
    prop_oneof![nasty(), "[a-zäöü]{0,80}", "[a-z]{30,34}", "[a-z]{62,66}"]
}

proptest! {
    #[test]
    fn texts_come_out_as_they_went_in_wherever_the_page_is_cut(
        rows in prop::collection::vec(prop::collection::vec(nasty(), 3), 0..40),
        chunk in 1_usize..80,
        batch in 1_usize..20,
        end in prop_oneof![Just("\n"), Just("\r\n")],
    ) {
        let rows: Vec<Vec<String>> = rows.into_iter().map(|row| [vec![ID.to_owned()], row].concat()).collect();
        let page = csv(&["Id", "Text1", "Text2", "Text3"], &rows, end);
        let (batches, counts) = decode(&text_schema(4), &page, chunk, batch).unwrap();
        let expected: Vec<Vec<Option<String>>> = rows
            .iter()
            .map(|row| row.iter().map(|cell| (!cell.is_empty()).then(|| cell.clone())).collect())
            .collect();
        prop_assert_eq!(texts(&batches), expected);
        prop_assert_eq!(counts.rows, rows.len() as u64);
        prop_assert_eq!(counts.bytes, page.len() as u64);
        prop_assert!(batches.iter().all(|one| one.num_rows() <= batch));
    }

    #[test]
    fn arrow_csv_reads_the_same(
        text in "([a,\"\r\n]|\"\"|\"a\"|\"\n\"){0,30}", end in prop_oneof![Just(""), Just("\n")], chunk in 1_usize..9,
    ) {
        // Any text at all: where both read it, they read the same. arrow-csv forgives more: text after a closing
        // quote, and a quote that is open at the end.
        let page = format!("\"Text0\",\"Text1\"\n{text}{end}");
        let fields: Vec<_> = (0..2).map(|index| field(&format!("Text{index}"), "string", DataType::Utf8)).collect();
        let schema = Arc::new(Schema::new(fields));
        let reader = ReaderBuilder::new(Arc::clone(&schema)).with_header(true).build(page.as_bytes()).unwrap();
        let theirs = reader.collect::<std::result::Result<Vec<_>, _>>();
        if let Ok((batches, _)) = decode(&schema, page.as_bytes(), chunk, 3) {
            prop_assert_eq!(texts(&batches), texts(&theirs.unwrap()));
        }
    }

    #[test]
    fn cells_taken_together_are_those_taken_one_by_one(
        rows in prop::collection::vec((cell_of_an_id(), cell_of_an_id(), nasty_or_long(), "-?[0-9]{0,4}"), 1..300),
    ) {
        let fields = [("Id", "id"), ("OwnerId", "reference"), ("Name", "string"), ("Count", "int")];
        let mut lines = Vec::new();
        let mut cells = Vec::new();
        for (id, reference, text, number) in &rows {
            let start = lines.len();
            lines.extend_from_slice(&csv(&[id, reference, text, number], &[], "\n"));
            prop_assert_eq!(split::scan_on(&lines, start, false, &mut cells), Scanned::Record(lines.len()));
        }
        for (index, (name, kind)) in fields.into_iter().enumerate() {
            let data_type = if kind == "int" { DataType::Int32 } else { DataType::Utf8 };
            let field = field(name, kind, data_type);
            let spans = ColumnSpans { cells: &cells, width: fields.len(), column: index };
            let (mut together, mut single) = (Column::new(&field, 4).unwrap(), Column::new(&field, 4).unwrap());
            let first_wrong = spans.iter().position(|span| {
                single.push(split::cell(&lines, span, &mut Vec::new())).is_none()
            });
            prop_assert_eq!(together.push_all(&lines, spans).err(), first_wrong);
            if first_wrong.is_none() {
                let together = together.take().unwrap();
                prop_assert_eq!(&together, &single.take().unwrap());
                // Both go the same way, so what they come to is told apart from them.
                let wanted = rows.iter().map(|(id, reference, text, number)| match kind {
                    "string" => text.clone(),
                    "int" => number.parse().map_or(String::new(), |number: i32| number.to_string()),
                    _ => {
                        let id = if kind == "id" { id } else { reference };
                        sf_id18(id).map_or(id.clone(), Into::into)
                    }
                });
                let wanted: Vec<_> = wanted.map(|cell| Some(cell).filter(|cell| !cell.is_empty())).collect();
                let found = arrow::compute::cast(&together, &DataType::Utf8).unwrap();
                let found: Vec<_> = found.as_string::<i32>().iter().map(|cell| cell.map(str::to_owned)).collect();
                prop_assert_eq!(found, wanted);
            }
        }
    }

    #[test]
    fn nul_bytes_are_removed_and_counted(
        before in "[a-z]{0,5}", nuls in 1_usize..6, after in "[a-z]{1,5}", chunk in 1_usize..30,
    ) {
        let value = format!("{before}{}{after}", "\0".repeat(nuls));
        let page = csv(&["Id", "Text1"], &[vec![ID.to_owned(), value]], "\n");
        let (batches, counts) = decode(&text_schema(2), &page, chunk, 10).unwrap();
        prop_assert_eq!(texts(&batches)[0][1].clone(), Some(format!("{before}{after}")));
        prop_assert_eq!(counts.nul_bytes, nuls as u64);
    }
}

#[test]
fn a_nul_is_seen_wherever_it_stands() {
    let mut bytes = vec![1; 3 * PIECE + 7];
    assert!(!has_nul(&bytes) && !has_nul(&[]));
    for at in [0, 1, PIECE - 1, PIECE, 2 * PIECE + 5, 3 * PIECE, bytes.len() - 1] {
        bytes[at] = 0;
        assert!(has_nul(&bytes), "at {at}");
        bytes[at] = 1;
    }
}

/// The values of the nastiest page, one a row.
const NASTIEST: [&str; 15] =
    ["NA", "#N/A", "  ", "\n", "\r\n", "\r", "\"", "\"\"", "\",\"\n\"", ",", "שלום", "👩‍👩‍👧", "\u{feff}x", "\\", "a\0b"];

#[test]
fn every_split_of_the_bytes_gives_the_same_rows() {
    let schema = text_schema(3);
    for end in ["\n", "\r\n"] {
        let rows: Vec<_> = NASTIEST
            .iter()
            .zip(NASTIEST.iter().rev())
            .map(|(one, other)| vec![ID.to_owned(), (*one).to_owned(), (*other).to_owned()])
            .collect();
        let page = csv(&["Id", "Text1", "Text2"], &rows, end);
        let (whole, counts) = decode(&schema, &page, page.len(), 4).unwrap();
        let wanted = texts(&whole);
        assert_eq!(wanted[4][1].as_deref(), Some("\r\n"));
        // Two pieces, wherever the border is; three, for every pair of borders of the first record and its neighbours.
        let pairs = (1..page.len()).map(|at| [at, page.len()]);
        let triples = (1..120).flat_map(|first| (first..120).map(move |second| [first, second]));
        for [first, second] in pairs.chain(triples) {
            let mut decoder = PageDecoder::new(&schema, 4).unwrap();
            let mut batches = Vec::new();
            for piece in [&page[..first], &page[first..second], &page[second..]] {
                decoder.feed(piece, &mut batches).unwrap();
            }
            assert_eq!(decoder.finish(&mut batches).unwrap(), counts, "cut at {first} and {second}");
            assert_eq!(texts(&batches), wanted, "cut at {first} and {second}");
        }
        for chunk in 1..40 {
            assert_eq!(texts(&decode(&schema, &page, chunk, 4).unwrap().0), wanted, "chunks of {chunk}");
        }
    }
}

#[test]
fn the_longest_text_areas_keep_their_length_and_batches_their_bounds() {
    let long = "ü\"\n".repeat(131_072 / 3) + "xy";
    assert_eq!(long.chars().count(), 131_072);
    let rows: Vec<_> = (0..24).map(|_| vec![ID.to_owned(), long.clone()]).collect();
    let page = csv(&["Id", "Text1"], &rows, "\n");
    let (batches, counts) = decode(&text_schema(2), &page, 100_000, 8_192).unwrap();
    assert_eq!(counts.rows, 24);
    assert!(batches.iter().all(|batch| batch.column(1).as_string::<i32>().iter().all(|cell| cell == Some(&long))));
    assert!(batches.iter().all(|batch| batch.num_rows() <= BATCH_BYTES / long.len() + 1));
}

#[test]
fn a_page_without_rows_is_a_header() {
    let (batches, counts) = decode(&text_schema(2), b"\"Id\",\"Text1\"\n", 5, 10).unwrap();
    assert!(batches.is_empty());
    assert_eq!(counts.rows, 0);
    let (batches, _) = decode(&text_schema(2), b"\"Id\",\"Text1\"", 5, 10).unwrap();
    assert!(batches.is_empty());
}

#[test]
fn a_page_with_other_columns_is_refused() {
    let schema = text_schema(2);
    for (page, words) in [
        ("\"Id\",\"Other\"\n", "`Other` where `Text1`"),
        ("\"Id\"\n", "no CSV of 2 columns"),
        ("\"Id\",\"Text1\",\"More\"\n", "no CSV of 2 columns"),
        ("", "without its header"),
        ("\"Id\",\"Text1\"\n\"001bm00000NMK67AAH\"\n", "no CSV of 2 columns after row 0"),
        ("<html><body>Bad Gateway</body></html>", "no CSV"),
    ] {
        let error = decode(&schema, page.as_bytes(), 7, 10).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Integrity);
        assert!(error.message().contains(words), "{page}: {error:?}");
    }
    let error = decode(&schema, b"\"Id\",\"Text1\"\n\"001bm00000NMK67AAH\",\"\xff\"\n", 7, 10).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Integrity);
}

#[test]
fn typed_cells_are_read_and_a_bad_one_names_itself() {
    let schema = Arc::new(Schema::new(vec![
        field("Id", "id", DataType::Utf8),
        field("OwnerId", "reference", DataType::Utf8),
        field("Flag", "boolean", DataType::Boolean),
        field("Number", "int", DataType::Int32),
        field("Amount", "currency", DataType::Decimal128(18, 2)),
        field("Rate", "double", DataType::Float64),
        field("Day", "date", DataType::Date32),
        field("At", "datetime", DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, Some("UTC".into()))),
    ]));
    let header = ["Id", "OwnerId", "Flag", "Number", "Amount", "Rate", "Day", "At"];
    let row = |cells: [&str; 8]| cells.map(str::to_owned).to_vec();
    let good = row([
        ID,
        "005bm000005TvBK",
        "true",
        "1.0",
        "1234567890123456.785",
        "1.0E7",
        "1700-01-01",
        "4000-12-31T23:59:59.999Z",
    ]);
    let empty = row([ID, "", "", "", "", "", "", ""]);
    let page = csv(&header, &[good.clone(), empty], "\n");
    let schema: SchemaRef = schema;
    let (batches, counts) = decode(&schema, &page, 11, 1).unwrap();
    assert_eq!(counts.rounded, 1);
    let text = arrow::util::pretty::pretty_format_batches(&batches).unwrap().to_string();
    for part in [
        "005bm000005TvBKAA0",
        "| true ",
        "| 1 ",
        "1234567890123456.79",
        "10000000.0",
        "1700-01-01",
        "4000-12-31T23:59:59.999Z",
    ] {
        assert!(text.contains(part), "{part} is missing in:\n{text}");
    }
    assert!(batches[1].columns()[1..].iter().all(|column| column.is_null(0)));

    let mut bad = good.clone();
    bad[3] = "1.5".to_owned();
    let error = decode(&schema, &csv(&header, &[good, bad], "\n"), 11, 10).unwrap_err();
    assert_eq!(
        error.message(),
        "field `Number` of record 001bm00000NMK67AAH holds `1.5`, which is not a whole number of 32 bits"
    );
    assert!(error.places().contains(&("row of the page", "2".to_owned())));
    assert!(error.hint_text().unwrap().contains("leave `Number` out"));
}
