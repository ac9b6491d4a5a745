//! `rebuild`: whether the live tables are what the log says, and making them so.

use std::fmt::Write as _;
use std::process::ExitCode;

use anyhow::Result;

use super::flags::Rebuild;
use super::open::Opened;
use super::say;
use crate::config::Config;
use crate::store::RebuildReport;

pub(super) async fn run(config: Config, rebuild: Rebuild) -> Result<ExitCode> {
    let opened = Opened::new(&config).await?;
    opened
        .during(async |store| {
            let report = store.rebuild(rebuild == Rebuild::Swap).await?;
            say(text(&report, rebuild).trim_end());
            let found = rebuild == Rebuild::Check && differs(&report);
            Ok(if found { ExitCode::FAILURE } else { ExitCode::SUCCESS })
        })
        .await
}

fn differs(report: &RebuildReport) -> bool {
    report.different > 0 || report.live_checksum != report.rebuilt_checksum
}

/// The report, for people; its words are stable enough for `grep`.
fn text(report: &RebuildReport, rebuild: Rebuild) -> String {
    let mut text = String::new();
    // Writing into a String cannot fail.
    let _ = writeln!(
        text,
        "folded {} events up to position {} in {:.3} s, {:.0} events/s",
        report.events,
        report.position,
        report.took.as_secs_f64(),
        report.rate()
    );
    let _ = writeln!(text, "\n{:<20} {:>12} {:>12}", "table", "live", "rebuilt");
    for (table, live, rebuilt) in &report.rows {
        let _ = writeln!(text, "{table:<20} {live:>12} {rebuilt:>12}");
    }
    let _ = writeln!(text, "\nchecksum of live     {}", report.live_checksum);
    let _ = writeln!(text, "checksum of rebuilt  {}\n", report.rebuilt_checksum);
    for one in &report.differences {
        let _ = writeln!(text, "{} {}: {}", one.table, one.key, one.what);
    }
    let unnamed = report.different.saturating_sub(report.differences.len());
    if unnamed > 0 {
        let _ = writeln!(text, "… and {unnamed} more");
    }
    let _ = match (report.different, rebuild) {
        (0, _) if differs(report) => writeln!(text, "the checksums differ although no row does"),
        (0, _) => writeln!(text, "no row differs"),
        (_, Rebuild::Check) => writeln!(text, "{}", count(report.different, "differs", "differ")),
        (_, Rebuild::Swap) => writeln!(text, "{}", count(report.swapped, "was replaced", "were replaced")),
    };
    text
}

fn count(number: usize, one: &str, many: &str) -> String {
    if number == 1 {
        format!("1 row {one}")
    } else {
        format!("{number} rows {many}")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::store::Difference;

    fn report() -> RebuildReport {
        RebuildReport {
            position: 42,
            events: 40,
            took: Duration::from_millis(20),
            rows: vec![("users", 3, 2), ("names", 5, 5)],
            live_checksum: "aa".into(),
            rebuilt_checksum: "bb".into(),
            differences: vec![Difference {
                table: "users",
                key: "0197".into(),
                what: "username, email".into(),
            }],
            different: 2,
            swapped: 0,
        }
    }

    #[test]
    fn a_check_names_what_differs() {
        insta::assert_snapshot!(text(&report(), Rebuild::Check), @r"
        folded 40 events up to position 42 in 0.020 s, 2000 events/s

        table                        live      rebuilt
        users                           3            2
        names                           5            5

        checksum of live     aa
        checksum of rebuilt  bb

        users 0197: username, email
        … and 1 more
        2 rows differ
        ");
        assert!(differs(&report()));
    }

    #[test]
    fn a_swap_says_how_many_were_replaced() {
        let swapped = RebuildReport { swapped: 1, ..report() };
        assert!(text(&swapped, Rebuild::Swap).ends_with("1 row was replaced\n"));
    }

    #[test]
    fn checksums_are_believed_more_than_the_walk() {
        let equal = RebuildReport {
            different: 0,
            differences: Vec::new(),
            ..report()
        };
        assert!(differs(&equal));
        let equal = RebuildReport {
            rebuilt_checksum: "aa".into(),
            ..equal
        };
        assert!(!differs(&equal));
        assert!(text(&equal, Rebuild::Check).ends_with("no row differs\n"));
    }
}
