//! How many tests passed and failed, read from what `cargo test` prints.

use std::ops::AddAssign;

/// Counts of tests; `failed` includes a stage that failed without naming a failed test.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

impl Counts {
    /// The counts that a line of output states, none for any other line. Understands the closing line of a Rust test
    /// binary and that of the run of JupyterHub's own tests.
    pub(crate) fn in_line(line: &str) -> Option<Self> {
        let line = line.trim();
        if let Some(rest) = line.strip_prefix("test result: ") {
            let (_, counts) = rest.split_once(". ")?;
            return Some(Self { passed: number(counts, "passed")?, failed: number(counts, "failed")? });
        }
        let counts = line.strip_prefix("upstream: ")?;
        Some(Self { passed: number(counts, "passed")?, failed: number(counts, "failed")? })
    }
}

/// The name of the Rust test that failed according to this line, none for any other line.
pub(crate) fn failed_test(line: &str) -> Option<String> {
    let (name, result) = line.trim().strip_prefix("test ")?.rsplit_once(" ... ")?;
    (result == "FAILED" && !name.contains(' ')).then(|| name.to_owned())
}

/// The number before `word` in a list such as `3 passed; 1 failed` or `3 passed, 1 failed`.
fn number(text: &str, word: &str) -> Option<u64> {
    text.split([';', ',']).find_map(|part| {
        let mut words = part.split_whitespace();
        let number = words.next()?;
        (words.next()? == word).then(|| number.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closing_line_of_a_test_binary_is_understood() {
        let line = "test result: FAILED. 12 passed; 3 failed; 1 ignored; 0 measured; 7 filtered out; finished in 0.10s";
        assert_eq!(Counts::in_line(line), Some(Counts { passed: 12, failed: 3 }));
        let line =
            "test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s";
        assert_eq!(Counts::in_line(line), Some(Counts { passed: 1, failed: 0 }));
    }

    #[test]
    fn the_closing_line_of_the_conformance_run_is_understood() {
        let line = "upstream: 411 passed, 7 failed, of 418 selected (520 listed)";
        assert_eq!(Counts::in_line(line), Some(Counts { passed: 411, failed: 7 }));
    }

    #[test]
    fn a_failed_test_is_named() {
        let line = "test adoption::a_zombie_is_a_server_that_ended ... FAILED";
        assert_eq!(failed_test(line).as_deref(), Some("adoption::a_zombie_is_a_server_that_ended"));
        assert_eq!(failed_test("test adoption::another ... ok"), None);
        assert_eq!(failed_test("test result: FAILED. 1 passed; 1 failed"), None);
    }

    #[test]
    fn other_lines_count_nothing() {
        assert_eq!(Counts::in_line("test tests::a_thing_is_done ... ok"), None);
        assert_eq!(Counts::in_line("3 passed; 1 failed"), None);
        assert_eq!(Counts::in_line(""), None);
    }
}
