//! What was sent and is not confirmed yet: up to where everything is.

use std::collections::VecDeque;

/// Positions in the order of the log, each with what is still awaited for it.
#[derive(Debug)]
pub(super) struct Window<T> {
    slots: VecDeque<(i64, Option<T>)>,
    awaited: usize,
    /// Everything up to here is done.
    done: i64,
}

impl<T> Window<T> {
    /// Nothing is awaited, and everything up to a position is done.
    pub fn after(position: i64) -> Self {
        Self {
            slots: VecDeque::new(),
            awaited: 0,
            done: position,
        }
    }

    /// How many are awaited.
    pub const fn awaited(&self) -> usize {
        self.awaited
    }

    /// Up to where everything is done.
    pub const fn done(&self) -> i64 {
        self.done
    }

    /// The next position; `awaited` is none where there is nothing to send.
    pub fn push(&mut self, position: i64, awaited: Option<T>) {
        self.awaited += usize::from(awaited.is_some());
        self.slots.push_back((position, awaited));
        self.settle();
    }

    /// The first that is awaited, with its position.
    pub fn first(&mut self) -> Option<(i64, &mut T)> {
        let (position, awaited) = self.slots.front_mut()?;
        Some((*position, awaited.as_mut()?))
    }

    /// The first one has come. A later one is never done before an earlier one: the log's order is the order of users.
    pub fn come(&mut self) {
        if let Some((_, awaited)) = self.slots.front_mut()
            && awaited.take().is_some()
        {
            self.awaited -= 1;
        }
        self.settle();
    }

    fn settle(&mut self) {
        while let Some((position, None)) = self.slots.front() {
            self.done = *position;
            self.slots.pop_front();
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
}
