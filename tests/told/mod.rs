//! What tests count, told to whoever runs them: the test harness shows the output of failed tests only.

use std::fs::OpenOptions;
use std::io::{Write as _, stderr};

/// Tells a line, formatted as by `println!`, with the name of the test before it.
macro_rules! told {
    ($($word:tt)*) => {
        $crate::told::line(&format!($($word)*))
    };
}

/// Appends a line to the file that `TEST_COUNTS` names, which `tests/run` prints at its end; without it the line goes
/// to standard error, past the harness. Whole lines, in one write: the tests of a process and several processes share it.
pub fn line(text: &str) {
    let thread = std::thread::current();
    // The harness names each thread after its test, or runs all on `main`.
    let name = thread.name().filter(|name| name.contains("::"));
    let line = name.map_or_else(|| format!("{text}\n"), |name| format!("{name}: {text}\n"));
    match std::env::var_os("TEST_COUNTS") {
        Some(path) => {
            let mut file = OpenOptions::new().append(true).create(true).open(path).unwrap();
            file.write_all(line.as_bytes()).unwrap();
        }
        None => stderr().write_all(line.as_bytes()).unwrap(),
    }
}
