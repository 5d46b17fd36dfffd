//! The page that holds the results: each experiment's part stands between two marks and is replaced as a whole.

/// Puts an experiment's part into a page: in the place of its earlier one, else at the end.
pub fn with_part(page: &str, name: &str, part: &str) -> String {
    let (begin, end) = (format!("<!-- begin {name} -->\n"), format!("<!-- end {name} -->\n"));
    let part = format!("{begin}{}\n{end}", part.trim_end());
    let found = page
        .split_once(&begin)
        .and_then(|(before, rest)| rest.split_once(&end).map(|(_, after)| (before, after)));
    match found {
        Some((before, after)) => format!("{before}{part}{after}"),
        None => format!("{}\n\n{part}", page.trim_end()),
    }
}

#[cfg(test)]
mod tests {
    use super::with_part;

    #[test]
    fn a_part_replaces_its_earlier_one_and_nothing_else() {
        let page = with_part("# Page\n\nText.\n", "a", "one\n");
        let page = with_part(&page, "b", "two");
        assert_eq!(
            page,
            "# Page\n\nText.\n\n<!-- begin a -->\none\n<!-- end a -->\n\n<!-- begin b -->\ntwo\n<!-- end b -->\n"
        );
        let again = with_part(&page, "a", "three");
        assert_eq!(again, page.replace("one", "three"));
    }
}
