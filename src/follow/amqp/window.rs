//! What was sent and is not confirmed yet: up to where everything is.

use std::collections::VecDeque;

/// Positions in the order of the log, and what is still awaited for some of them. Those without are never many here,
/// however many there are in the log.
#[derive(Debug)]
pub(super) struct Window<T> {
    slots: VecDeque<Slot<T>>,
    /// Everything up to here is done.
    done: i64,
}

#[derive(Debug)]
struct Slot<T> {
    position: i64,
    awaited: T,
    /// Everything from its position up to here is done once it has come.
    until: i64,
}

impl<T> Window<T> {
    /// Nothing is awaited, and everything up to a position is done.
    pub fn after(position: i64) -> Self {
        Self {
            slots: VecDeque::new(),
            done: position,
        }
    }

    /// How many are awaited.
    pub fn awaited(&self) -> usize {
        self.slots.len()
    }

    /// Up to where everything is done.
    pub const fn done(&self) -> i64 {
        self.done
    }

    /// The next position; `awaited` is none where there is nothing to send.
    pub fn push(&mut self, position: i64, awaited: Option<T>) {
        match (awaited, self.slots.back_mut()) {
            (Some(awaited), _) => self.slots.push_back(Slot {
                position,
                awaited,
                until: position,
            }),
            (None, Some(last)) => last.until = position,
            (None, None) => self.done = position,
        }
    }

    /// The first that is awaited, with its position.
    pub fn first(&mut self) -> Option<(i64, &mut T)> {
        self.slots.front_mut().map(|slot| (slot.position, &mut slot.awaited))
    }

    /// The first one has come. A later one is never done before an earlier one: the log's order is the order of users.
    pub fn come(&mut self) {
        if let Some(slot) = self.slots.pop_front() {
            self.done = slot.until;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn done_is_up_to_where_nothing_is_awaited() {
        let mut window = Window::after(7);
        window.push(8, None);
        assert_eq!((window.done(), window.awaited()), (8, 0));
        window.push(9, Some('a'));
        window.push(10, None);
        window.push(11, Some('b'));
        window.push(12, None);
        assert_eq!((window.done(), window.awaited()), (8, 2));
        assert_eq!(window.first(), Some((9, &mut 'a')));
        window.come();
        assert_eq!((window.done(), window.awaited()), (10, 1));
        assert_eq!(window.first(), Some((11, &mut 'b')));
        window.come();
        assert_eq!((window.done(), window.awaited()), (12, 0));
        assert_eq!(window.first(), None);
        window.come();
        assert_eq!((window.done(), window.awaited()), (12, 0));
    }

    #[test]
    fn what_is_not_sent_takes_no_room() {
        let mut window = Window::after(0);
        window.push(1, Some('a'));
        for position in 2..=100_000 {
            window.push(position, None);
        }
        assert_eq!((window.slots.len(), window.awaited(), window.done()), (1, 1, 0));
        window.push(100_001, Some('b'));
        window.come();
        assert_eq!((window.done(), window.first()), (100_000, Some((100_001, &mut 'b'))));
    }
}
