//! The committed reference page is the one that the types make.

use std::path::Path;

#[test]
fn the_committed_page_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/CONFIGURATION.md");
    let made = codeswarm_configs::reference_page();
    if std::env::var_os("UPDATE_REFERENCE").is_some_and(|value| value == "1") {
        std::fs::write(&path, &made).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == made,
        "docs/CONFIGURATION.md differs from the types; write it again with\n    \
         UPDATE_REFERENCE=1 cargo test -p codeswarm-configs --test reference"
    );
}
