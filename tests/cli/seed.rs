//! `dev seed`, on either engine.

use crate::harness::Place;

mod sqlite {
    #[test]
    fn people_are_made_once_and_only_where_nobody_is() {
        super::people_are_made_once_and_only_where_nobody_is(&crate::harness::Place::sqlite());
    }
}

mod postgres {
    #[test]
    fn people_are_made_once_and_only_where_nobody_is() {
        super::people_are_made_once_and_only_where_nobody_is(&crate::harness::Place::postgres());
    }
}

fn people_are_made_once_and_only_where_nobody_is(place: &Place) {
    let seeded = place.run(&["dev", "seed", "--users", "40", "--domains", "3"]);
    assert_eq!(seeded.code, Some(0), "{}", seeded.stderr);
    for line in [
        "2 of 40 people",
        "40 of 40 people",
        "made 40 people, found 0 who were there",
    ] {
        assert!(seeded.stdout.contains(line), "{line}\n{}", seeded.stdout);
    }
    // Nobody is put among people who are there, unless somebody insists.
    let refused = place.run(&["dev", "seed", "--users", "50"]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("this store is not empty"), "{}", refused.stderr);
    let more = place.run(&["dev", "seed", "--users", "50", "--domains", "3", "--force"]);
    assert!(
        more.stdout.contains("made 10 people, found 40 who were there"),
        "{}",
        more.stdout
    );
    let same = place.run(&["dev", "seed", "--users", "50", "--domains", "3", "--force"]);
    assert!(
        same.stdout.contains("made 0 people, found 50 who were there"),
        "{}",
        same.stdout
    );
    // They came the way everybody comes: the log says the same as the tables.
    let checked = place.run(&["rebuild", "--check"]);
    assert_eq!(checked.code, Some(0), "{}{}", checked.stdout, checked.stderr);
    assert!(checked.stdout.contains("no row differs"), "{}", checked.stdout);
    let none = place.run(&["dev", "seed", "--users", "0"]);
    assert_eq!(none.code, Some(2));
}
