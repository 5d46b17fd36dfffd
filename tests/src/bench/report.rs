//! What an experiment found: tables, what was to be reached, and what is to be known about them.

use serde_json::{Value, json};

use super::figures::{Figures, Unit};

/// One field of a table.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// A word.
    Text(String),
    /// What was measured.
    Figures(Figures),
    /// What cannot be measured here, and why.
    Missing(String),
}

impl Cell {
    fn told(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Figures(figures) => figures.told(),
            Self::Missing(why) => format!("not here: {why}"),
        }
    }

    fn json(&self) -> Value {
        match self {
            Self::Text(text) => json!(text),
            Self::Figures(figures) => figures.json(),
            Self::Missing(why) => json!({"missing": why}),
        }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<Figures> for Cell {
    fn from(figures: Figures) -> Self {
        Self::Figures(figures)
    }
}

/// Rows of the same columns; the first column names the row.
#[derive(Debug, Clone)]
pub struct Table {
    title: String,
    columns: Vec<String>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// An empty one.
    pub fn new(title: impl Into<String>, columns: &[&str]) -> Self {
        Self {
            title: title.into(),
            columns: columns.iter().map(|&column| column.to_owned()).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row. What it lacks at its end is left empty.
    pub fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        let mut row: Vec<Cell> = cells.into_iter().collect();
        assert!(
            row.len() <= self.columns.len(),
            "{row:?} has more fields than {:?}",
            self.columns
        );
        row.resize(self.columns.len(), Cell::Text(String::new()));
        self.rows.push(row);
    }

    /// The same for a way that this machine does not have.
    pub fn missing(&mut self, name: &str, why: impl Into<String>) {
        self.row([Cell::from(name), Cell::Missing(why.into())]);
    }

    fn markdown(&self) -> String {
        let mut text = String::new();
        if !self.title.is_empty() {
            text.push_str(&format!("{}\n\n", self.title));
        }
        let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
        text.push_str(&line(self.columns.clone()));
        text.push_str(&format!("|---{}|\n", "|---:".repeat(self.columns.len() - 1)));
        for row in &self.rows {
            text.push_str(&line(row.iter().map(|cell| cell.told().replace('|', "\\|")).collect()));
        }
        text
    }

    /// With columns that are as wide as what is in them.
    fn plain(&self) -> String {
        let rows: Vec<Vec<String>> = std::iter::once(self.columns.clone())
            .chain(self.rows.iter().map(|row| row.iter().map(Cell::told).collect()))
            .collect();
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let mut text = String::new();
        if !self.title.is_empty() {
            text.push_str(&format!("{}\n", self.title));
        }
        for row in rows {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
            text.push_str("  ");
            text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
            text.push('\n');
        }
        text
    }

    fn json(&self) -> Value {
        let row = |row: &Vec<Cell>| {
            let fields = self.columns.iter().cloned().zip(row.iter().map(Cell::json));
            Value::Object(fields.collect())
        };
        json!({"title": self.title, "rows": self.rows.iter().map(row).collect::<Vec<_>>()})
    }
}

/// Something that was to be reached.
#[derive(Debug, Clone)]
pub struct Target {
    /// What, with its figure.
    pub what: String,
    /// What was found.
    pub found: String,
    /// Whether that is enough.
    pub reached: bool,
    /// Why not, and what would do it.
    pub why: String,
}

/// What an experiment found.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// The tables.
    pub tables: Vec<Table>,
    /// What was to be reached.
    pub targets: Vec<Target>,
    /// What is to be known about the figures.
    pub notes: Vec<String>,
}

impl Report {
    /// Adds a table.
    pub fn table(&mut self, table: Table) {
        self.tables.push(table);
    }

    /// Adds a sentence.
    pub fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// Adds what was to be reached: at most so much, or at least. `why` is told when it is not.
    pub fn target(&mut self, what: &str, found: f64, unit: Unit, reached: bool, why: &str) {
        self.targets.push(Target {
            what: what.to_owned(),
            found: unit.told(found),
            reached,
            why: why.to_owned(),
        });
    }

    fn target_lines(&self) -> impl Iterator<Item = String> + '_ {
        self.targets.iter().map(|target| match target.reached {
            true => format!("Target: {}. Reached: {}.", target.what, target.found),
            false => format!(
                "Target: {}. **Not reached**: {}. {}",
                target.what, target.found, target.why
            ),
        })
    }

    /// As a part of a page.
    pub fn markdown(&self) -> String {
        let tables = self.tables.iter().map(Table::markdown);
        let lines: Vec<String> = self.target_lines().chain(self.notes.iter().cloned()).collect();
        let lines = lines.iter().map(|line| format!("- {line}\n")).collect::<String>();
        let parts: Vec<String> = tables.chain((!lines.is_empty()).then_some(lines)).collect();
        parts.join("\n")
    }

    /// For a terminal.
    pub fn plain(&self) -> String {
        let tables = self.tables.iter().map(Table::plain);
        let lines = self.target_lines().map(|line| line.replace("**", ""));
        let lines = lines.chain(self.notes.iter().cloned());
        let lines = lines.map(|line| format!("  - {line}\n")).collect::<String>();
        tables.chain([lines]).collect::<Vec<_>>().join("\n")
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let target = |target: &Target| json!({"what": target.what, "found": target.found, "reached": target.reached});
        json!({
            "tables": self.tables.iter().map(Table::json).collect::<Vec<_>>(),
            "targets": self.targets.iter().map(target).collect::<Vec<_>>(),
            "notes": self.notes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let mut table = Table::new("Draining", &["program", "speed"]);
        table.row([
            "cat".into(),
            Figures::new(vec![2e9, 1e9, 3e9], Unit::BytesPerSecond).into(),
        ]);
        table.missing("tail", "there is no tail");
        let mut report = Report::default();
        report.table(table);
        report.target("at least 5 ×", 4.0, Unit::Times, false, "It is slow.");
        report.note("A note.");
        report
    }

    #[test]
    fn what_is_missing_is_said_and_what_is_not_reached_has_its_reason() {
        assert_eq!(
            report().markdown(),
            "Draining\n\n| program | speed |\n|---|---:|\n| cat | 2000 MB/s (1000 MB/s – 3000 MB/s) |\n| tail | not here: there is no tail |\n\n\
             - Target: at least 5 ×. **Not reached**: 4.00 ×. It is slow.\n- A note.\n"
        );
    }

    #[test]
    fn the_same_as_json_and_for_a_terminal() {
        let json = report().json();
        assert_eq!(json["tables"][0]["rows"][0]["speed"]["median"], 2e9);
        assert_eq!(json["tables"][0]["rows"][1]["speed"]["missing"], "there is no tail");
        assert_eq!(json["targets"][0]["reached"], false);
        let plain = report().plain();
        assert!(plain.contains("  program  speed\n  cat      2000 MB/s"), "{plain}");
    }
}
