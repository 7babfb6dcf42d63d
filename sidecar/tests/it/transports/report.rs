//! What every transport did is what `docs/reference/transports.md` says: a table for each story, whose columns are
//! transports and whose rows are chapters, with a dash for what can't happen there. `FRESHET_BLESS=1` writes what is done
//! now.

use std::sync::{Mutex, PoisonError};

/// What became of a chapter that this transport's story doesn't have.
const NOTHING: &str = "–";

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference/transports.md");

/// Compares what became of each chapter with the column of this transport.
pub(crate) fn hold(story: &str, transport: &str, told: &[(&str, &str)]) {
    // Each transport's story is a test of its own.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let page = std::fs::read_to_string(PAGE).unwrap();
    let written = with(&page, story, transport, told);
    if written != page && std::env::var_os("FRESHET_BLESS").is_some() {
        std::fs::write(PAGE, written).unwrap();
        return;
    }
    assert!(
        page == written,
        "docs/reference/transports.md has another column of {transport}, {story}: {told:#?}"
    );
}

/// The page with this column as it was told.
fn with(page: &str, story: &str, transport: &str, told: &[(&str, &str)]) -> String {
    let begin = format!("<!-- what became of {story} -->\n");
    let (head, rest) = page.split_once(&begin).expect("the page has the story's table");
    let (table, tail) = rest.split_once("\n\n").expect("a table ends with a blank line");
    let cells = |line: &str| -> Vec<String> {
        line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
    };
    let mut rows: Vec<_> = table.lines().map(cells).collect();
    rows.remove(1);
    let name = format!("`{transport}`");
    let column = rows[0].iter().position(|cell| *cell == name).expect("the transport has a column");
    for row in rows.iter_mut().skip(1) {
        NOTHING.clone_into(&mut row[column]);
    }
    for (chapter, became) in told {
        let row = rows.iter().position(|row| row[0] == *chapter).unwrap_or_else(|| {
            let mut row = vec![String::new(); rows[0].len()];
            (*chapter).clone_into(&mut row[0]);
            rows.push(row);
            rows.len() - 1
        });
        (*became).clone_into(&mut rows[row][column]);
    }
    let line = |row: &Vec<String>| format!("| {} |", row.join(" | "));
    let rule = format!("|{}", "---|".repeat(rows[0].len()));
    let lines: Vec<_> =
        std::iter::once(line(&rows[0])).chain([rule]).chain(rows[1..].iter().map(line)).collect();
    format!("{head}{begin}{}\n\n{tail}", lines.join("\n"))
}

#[test]
fn a_column_is_compared_cell_by_cell() {
    let page = "# T\n\n<!-- what became of x -->\n| then | `a` | `b` |\n|---|---|---|\n| kill | kept | void |\n\nend\n";
    assert_eq!(with(page, "x", "a", &[("kill", "kept")]), page);
    let other = with(page, "x", "b", &[("kill", "kept"), ("burst", "all")]);
    assert_eq!(other, page.replace("void |", "kept |\n| burst |  | all |"));
    // What isn't told of can't happen.
    assert_eq!(with(page, "x", "b", &[]), page.replace("void |", "– |"));
}
