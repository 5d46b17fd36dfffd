//! What was measured several times: its median, its spread, and its unit for reading.

use serde_json::{Value, json};

/// What a figure counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Seconds.
    Seconds,
    /// Bytes, told in MB of a million.
    Bytes,
    /// Bytes of memory, told in MiB.
    Memory,
    /// Bytes a second.
    BytesPerSecond,
    /// So many a second.
    PerSecond,
    /// So many.
    Count,
    /// So many hundredths.
    Percent,
    /// So many times something else.
    Times,
}

impl Unit {
    /// The unit's name in JSON.
    fn name(self) -> &'static str {
        match self {
            Self::Seconds => "seconds",
            Self::Bytes | Self::Memory => "bytes",
            Self::BytesPerSecond => "bytes_per_second",
            Self::PerSecond => "per_second",
            Self::Count => "count",
            Self::Percent => "percent",
            Self::Times => "times",
        }
    }

    /// One figure, for reading.
    pub fn told(self, value: f64) -> String {
        match self {
            Self::Seconds => match value.abs() {
                size if size < 1e-3 => format!("{} µs", significant(value * 1e6)),
                size if size < 1.0 => format!("{} ms", significant(value * 1e3)),
                size if size < 100.0 => format!("{value:.2} s"),
                _ => format!("{value:.0} s"),
            },
            Self::Bytes => format!("{} MB", significant(value / 1e6)),
            Self::Memory => format!("{} MiB", significant(value / f64::from(1 << 20))),
            Self::BytesPerSecond => format!("{} MB/s", significant(value / 1e6)),
            Self::PerSecond => format!("{}/s", significant(value)),
            Self::Count => significant(value),
            Self::Percent => format!("{} %", significant(value)),
            Self::Times => format!("{value:.2} ×"),
        }
    }
}

/// Three digits where there are that many, with thousands set apart.
fn significant(value: f64) -> String {
    let digits = if value == 0.0 || value.abs() >= 100.0 || value.fract() == 0.0 {
        0
    } else if value.abs() >= 10.0 {
        1
    } else {
        2
    };
    let text = format!("{value:.digits$}");
    let (whole, rest) = text
        .split_once('.')
        .map_or((text.as_str(), ""), |(whole, rest)| (whole, rest));
    let mut grouped = String::new();
    for (at, digit) in whole.chars().enumerate() {
        let left = whole.len() - at;
        if at > 0 && left % 3 == 0 && digit.is_ascii_digit() && whole.len() > 4 && !grouped.ends_with('-') {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if rest.is_empty() {
        grouped
    } else {
        format!("{grouped}.{rest}")
    }
}

/// Measurements of one thing.
#[derive(Debug, Clone, PartialEq)]
pub struct Figures {
    sorted: Vec<f64>,
    unit: Unit,
}

impl Figures {
    /// At least one.
    #[track_caller]
    pub fn new(mut values: Vec<f64>, unit: Unit) -> Self {
        assert!(!values.is_empty(), "nothing was measured");
        values.sort_by(f64::total_cmp);
        Self { sorted: values, unit }
    }

    /// The middle one.
    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// The value that this share of them does not exceed.
    pub fn quantile(&self, share: f64) -> f64 {
        // A rank: the cast keeps what the rounding made whole.
        let rank = (share * self.sorted.len() as f64).ceil().max(1.0) as usize;
        self.sorted[rank.min(self.sorted.len()) - 1]
    }

    /// The least and the most.
    pub fn range(&self) -> (f64, f64) {
        (self.sorted[0], self.sorted[self.sorted.len() - 1])
    }

    /// How often it was measured.
    pub fn count(&self) -> usize {
        self.sorted.len()
    }

    /// The median, and behind it the range.
    pub fn told(&self) -> String {
        let median = self.unit.told(self.median());
        let (least, most) = self.range();
        if self.count() == 1 || least == most {
            return median;
        }
        format!("{median} ({} – {})", self.unit.told(least), self.unit.told(most))
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let (least, most) = self.range();
        json!({
            "unit": self.unit.name(),
            "median": self.median(),
            "least": least,
            "most": most,
            "runs": self.count(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_one_that_was_measured_and_the_range_stands_behind_it() {
        let figures = Figures::new(vec![0.3, 0.1, 0.2, 0.5, 0.4], Unit::Seconds);
        assert_eq!(figures.median(), 0.3);
        assert_eq!(figures.told(), "300 ms (100 ms – 500 ms)");
        assert_eq!(Figures::new(vec![7.0], Unit::Count).told(), "7");
        let many = Figures::new((1..=1000).map(f64::from).collect(), Unit::Count);
        assert_eq!(
            (many.quantile(0.99), many.quantile(1.0), many.quantile(0.0)),
            (990.0, 1000.0, 1.0)
        );
    }

    #[test]
    fn units_are_for_reading() {
        let told = [
            (Unit::Seconds, 0.000_012_34, "12.3 µs"),
            (Unit::Seconds, 1.5, "1.50 s"),
            (Unit::BytesPerSecond, 1.234e9, "1234 MB/s"),
            (Unit::PerSecond, 1_234_567.0, "1,234,567/s"),
            (Unit::Memory, 12.5 * 1_048_576.0, "12.5 MiB"),
            (Unit::Times, 0.8, "0.80 ×"),
            (Unit::Count, 0.0, "0"),
        ];
        for (unit, value, text) in told {
            assert_eq!(unit.told(value), text);
        }
    }
}
