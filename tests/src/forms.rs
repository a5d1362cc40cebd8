//! Forms of pages, filled in as a browser would send them when nothing is changed.

/// Those that templates write, the ampersand last so that nothing is resolved twice.
const ENTITIES: [(&str, &str); 7] = [
    ("&#39;", "'"),
    ("&#34;", "\""),
    ("&quot;", "\""),
    ("&lt;", "<"),
    ("&gt;", ">"),
    ("&#x2f;", "/"),
    ("&amp;", "&"),
];

/// Names and values of the `input` elements of a page that have both, in their order, disabled ones left out.
pub fn inputs(page: &str) -> Vec<(String, String)> {
    page.split("<input")
        .skip(1)
        .filter_map(|rest| rest.split_once('>').map(|(element, _)| element))
        .filter(|element| attribute(element, "disabled").is_none())
        .filter_map(|element| Some((attribute(element, "name")?, attribute(element, "value")?)))
        .collect()
}

fn attribute(element: &str, name: &str) -> Option<String> {
    let element = element.replace(['\n', '\t'], " ");
    let (_, rest) = element.split_once(&format!(" {name}=\""))?;
    let (value, _) = rest.split_once('"')?;
    Some(ENTITIES.iter().fold(value.to_owned(), |text, (entity, character)| text.replace(entity, character)))
}

#[cfg(test)]
mod tests {
    use super::inputs;

    #[test]
    fn what_a_browser_would_send_is_found() {
        let page = r#"<form><input type="hidden" name="scopes" value="a&amp;b" /><input
            name="raw" value="x"
            disabled="disabled"/><input type="text" name="nothing"><input value="1" name="one"></form>"#;
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(inputs(page), [pair("scopes", "a&b"), pair("one", "1")]);
    }
}
