//! XML: orders and records in, answers out.

use quick_xml::Reader;
use quick_xml::events::BytesStart;
use quick_xml::events::Event;

use super::NAMESPACE;

/// The deepest nesting that is read: `sObjects/sObject/Owner/sObject/Ext__c` needs five.
const DEEPEST: usize = 16;

/// How a result of a query begins and ends.
pub(super) const RESULT_START: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><queryResult \
     xmlns=\"http://www.force.com/2009/06/asyncapi/dataload\" xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\">";
pub(super) const RESULT_END: &str = "</queryResult>";

/// An element with everything in it. Prefixes of names have no meaning here and are dropped.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Element {
    pub(super) name: String,
    /// The text directly in it.
    pub(super) text: String,
    /// `xsi:nil="true"`.
    pub(super) nil: bool,
    pub(super) children: Vec<Element>,
}

impl Element {
    /// The text of a child.
    pub(super) fn child(&self, name: &str) -> Option<&str> {
        self.children.iter().find(|child| child.name == name).map(|child| child.text.trim())
    }
}

/// Reads a document and returns its root.
///
/// # Errors
/// What is wrong with it.
pub(super) fn read(text: &str) -> Result<Element, String> {
    let mut reader = Reader::from_str(text);
    let mut open: Vec<Element> = vec![Element::default()];
    loop {
        let event = reader.read_event().map_err(|cause| cause.to_string())?;
        let Some(inner) = open.last_mut() else { return Err("unexpected end tag".to_owned()) };
        match event {
            Event::Start(tag) => {
                let element = start(&tag)?;
                if open.len() > DEEPEST {
                    return Err("elements are nested too deeply".to_owned());
                }
                open.push(element);
            }
            Event::Empty(tag) => inner.children.push(start(&tag)?),
            Event::End(_) => {
                // The reader has checked that the tags match.
                let Some(done) = open.pop() else { break };
                match open.last_mut() {
                    Some(outer) => outer.children.push(done),
                    None => return Err("unexpected end tag".to_owned()),
                }
            }
            Event::Text(part) => inner.text.push_str(&part.xml10_content().map_err(|cause| cause.to_string())?),
            Event::CData(part) => inner.text.push_str(&part.xml10_content().map_err(|cause| cause.to_string())?),
            Event::GeneralRef(reference) => match reference.resolve_char_ref().map_err(|cause| cause.to_string())? {
                Some(character) => inner.text.push(character),
                None => {
                    let name = reference.decode().map_err(|cause| cause.to_string())?;
                    let known = quick_xml::escape::resolve_predefined_entity(&name);
                    inner.text.push_str(known.ok_or_else(|| format!("unknown entity {name}"))?);
                }
            },
            Event::DocType(_) => return Err("a DOCTYPE is not allowed".to_owned()),
            Event::Eof => break,
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
        }
    }
    match (open.pop(), open.is_empty()) {
        (Some(mut document), true) if document.children.len() == 1 => {
            document.children.pop().ok_or_else(|| "no root element".to_owned())
        }
        _ => Err("no single root element".to_owned()),
    }
}

fn start(tag: &BytesStart<'_>) -> Result<Element, String> {
    let name = String::from_utf8_lossy(tag.local_name().as_ref()).into_owned();
    let mut nil = false;
    for attribute in tag.attributes() {
        let attribute = attribute.map_err(|cause| cause.to_string())?;
        nil |= attribute.key.local_name().as_ref() == b"nil" && matches!(attribute.value.as_ref(), b"true" | b"1");
    }
    Ok(Element { name, nil, ..Element::default() })
}

/// Writes a document as the service lays it out: one blank per level.
pub(super) struct Writer {
    out: Vec<u8>,
    open: Vec<&'static str>,
}

impl Writer {
    /// A document with this root.
    pub(super) fn new(root: &'static str) -> Self {
        let head = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?><{root}\n   xmlns=\"{NAMESPACE}\">\n");
        Self { out: head.into_bytes(), open: vec![root] }
    }

    /// Opens an element.
    pub(super) fn open(&mut self, name: &'static str) {
        self.indent();
        self.out.extend_from_slice(format!("<{name}>\n").as_bytes());
        self.open.push(name);
    }

    /// Closes the element that was opened last.
    pub(super) fn close(&mut self) {
        if let Some(name) = self.open.pop() {
            self.indent();
            self.out.extend_from_slice(format!("</{name}>\n").as_bytes());
        }
    }

    /// An element with text.
    pub(super) fn element(&mut self, name: &str, text: &str) {
        self.indent();
        element(&mut self.out, name, text);
        self.out.push(b'\n');
    }

    fn indent(&mut self) {
        self.out.resize(self.out.len() + self.open.len(), b' ');
    }

    /// The whole document.
    pub(super) fn finish(mut self) -> Vec<u8> {
        while self.open.len() > 1 {
            self.close();
        }
        if let Some(root) = self.open.pop() {
            self.out.extend_from_slice(format!("</{root}>").as_bytes());
        }
        self.out
    }
}

/// Writes an element with text.
pub(super) fn element(out: &mut Vec<u8>, name: &str, text: &str) {
    out.extend_from_slice(format!("<{name}>").as_bytes());
    escaped(out, text);
    out.extend_from_slice(format!("</{name}>").as_bytes());
}

/// Writes an element without a value.
pub(super) fn nil(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(format!("<{name} xsi:nil=\"true\"/>").as_bytes());
}

/// Text as XML has it. A reader would take a bare carriage return for a line feed, so it is written as a reference.
fn escaped(out: &mut Vec<u8>, text: &str) {
    for character in text.chars() {
        match character {
            '<' => out.extend_from_slice(b"&lt;"),
            '>' => out.extend_from_slice(b"&gt;"),
            '&' => out.extend_from_slice(b"&amp;"),
            '"' => out.extend_from_slice(b"&quot;"),
            '\'' => out.extend_from_slice(b"&apos;"),
            '\r' => out.extend_from_slice(b"&#13;"),
            '\t' | '\n' => out.push(character as u8),
            // XML 1.0 has no way to write these.
            '\u{0}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => {}
            _ => out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_read_with_their_text() {
        let root = read(
            "<?xml version=\"1.0\"?><a:sObjects xmlns:a=\"x\"><sObject><Name>A &amp; &#66;<![CDATA[<c>]]>\r\n</Name>\
             <Fax xsi:nil=\"true\"/><!-- no --></sObject></a:sObjects>",
        )
        .unwrap();
        let record = &root.children[0];
        assert_eq!((root.name.as_str(), record.name.as_str()), ("sObjects", "sObject"));
        assert_eq!((record.children[0].text.as_str(), record.children[0].nil), ("A & B<c>\n", false));
        assert_eq!((record.children[1].name.as_str(), record.children[1].nil), ("Fax", true));
        for wrong in ["", "<a>", "<a></b>", "<a/><b/>", "<a>&nothing;</a>", "<!DOCTYPE a><a/>", "text"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let mut out = Writer::new("error");
        out.open("inner");
        out.element("exceptionMessage", "a < \"b\" & 'c'\r\n\u{0}d");
        let text = String::from_utf8(out.finish()).unwrap();
        assert!(text.starts_with(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><error\n   xmlns=\"http://www.force.com/2009/06/asyncapi/dataload\">\n <inner>\n  <exceptionMessage>a &lt; "
        ));
        let root = read(&text).unwrap();
        assert_eq!(root.children[0].children[0].text, "a < \"b\" & 'c'\r\nd");
    }
}
