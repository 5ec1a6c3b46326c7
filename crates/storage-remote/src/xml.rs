//! Answers in XML, as trees.

use quick_xml::Reader;
use quick_xml::events::Event;

/// One element. Attributes and namespaces do not matter to us.
#[derive(Debug, Default)]
pub(crate) struct Element {
    name: String,
    text: String,
    children: Vec<Element>,
}

impl Element {
    /// Reads a whole document; `None` if it is not one, for example because it ends too early.
    pub(crate) fn parse(document: &[u8]) -> Option<Self> {
        let mut reader = Reader::from_str(std::str::from_utf8(document).ok()?);
        let mut open = vec![Self::default()];
        loop {
            match reader.read_event().ok()? {
                Event::Start(start) => open.push(Self::named(start.local_name().as_ref())),
                Event::Empty(start) => {
                    let element = Self::named(start.local_name().as_ref());
                    open.last_mut()?.children.push(element);
                }
                Event::End(_) => {
                    let element = open.pop()?;
                    open.last_mut()?.children.push(element);
                }
                Event::Text(text) => open.last_mut()?.text.push_str(&text),
                Event::CData(text) => open.last_mut()?.text.push_str(&text),
                Event::GeneralRef(reference) => {
                    let element = open.last_mut()?;
                    if let Some(character) = reference.resolve_char_ref().ok()? {
                        element.text.push(character);
                    } else {
                        element.text.push_str(quick_xml::escape::resolve_predefined_entity(&reference)?);
                    }
                }
                Event::Eof => break,
                _ => {}
            }
        }
        let mut document = open.pop()?;
        let root = document.children.pop()?;
        (open.is_empty() && document.children.is_empty()).then_some(root)
    }

    fn named(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn children(&self) -> impl Iterator<Item = &Self> {
        self.children.iter()
    }

    pub(crate) fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The text of a child.
    pub(crate) fn text_of(&self, name: &str) -> Option<&str> {
        self.child(name).map(|child| child.text.trim())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_becomes_a_tree() {
        let document =
            b"<?xml version=\"1.0\"?><List xmlns=\"x\"><Key>a&amp;b&#47;c</Key><Empty/>\n<Key>d</Key></List>";
        let root = Element::parse(document).unwrap();
        assert_eq!(root.name(), "List");
        assert_eq!(root.text_of("Key"), Some("a&b/c"));
        assert_eq!(root.text_of("Empty"), Some(""));
        assert_eq!(root.children().count(), 3);
    }

    #[test]
    fn a_document_that_ends_too_early_is_none() {
        for document in ["", "<List><Key>a</Key>", "<List><Key>a", "text", "<a></b>"] {
            assert!(Element::parse(document.as_bytes()).is_none(), "{document}");
        }
    }
}
