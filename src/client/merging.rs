//! The lists of several peers while they come: merged by name as far as that makes nobody wait for
//! long, so that one peer that gets stuck does not keep what the others have from being shown.

use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Select, TryRecvError};

use super::Listed;
use crate::config;

/// The lists of several peers, each in the order of its names.
pub(super) struct Lists(Vec<List>);

struct List {
    pages: Receiver<Vec<Listed>>,
    page: std::vec::IntoIter<Listed>,
    head: Option<Listed>,
    ended: bool,
    /// How long the others still wait for this one.
    left: Duration,
    patience: Duration,
}

/// What comes next for a table.
pub(super) enum Next {
    /// So many files of the list at that place.
    Page(usize, Vec<Listed>),
    /// Those that are left have been waited for long enough, for now.
    Late,
    /// All lists have ended.
    End,
}

impl Lists {
    /// Lists whose pages come there. Those that are ready wait for the others, in all, no longer
    /// than `patience`, and a little for every name that comes.
    pub(super) fn new(pages: Vec<Receiver<Vec<Listed>>>, patience: Duration) -> Self {
        let list = |pages| List {
            pages,
            page: Vec::new().into_iter(),
            head: None,
            ended: false,
            left: patience,
            patience,
        };
        Self(pages.into_iter().map(list).collect())
    }

    /// Whether [`Self::next`] has not to wait.
    pub(super) fn is_ready(&mut self) -> bool {
        self.unready().is_empty()
    }

    /// The files of the first name; in the order of the names, unless a list comes late.
    pub(super) fn next(&mut self) -> Option<Vec<Listed>> {
        loop {
            let unready = self.unready();
            let any = self.0.iter().any(|list| list.head.is_some());
            let due: Vec<usize> =
                unready.iter().copied().filter(|place| !any || !self.is_late(*place)).collect();
            if due.is_empty() {
                break;
            }
            self.wait_for(&due, any);
        }
        let first =
            self.0.iter().filter_map(|list| Some(list.head.as_ref()?.name.clone())).min()?;
        let take = |list: &mut List| list.head.take_if(|head| head.name == first);
        Some(self.0.iter_mut().filter_map(take).collect())
    }

    /// What comes next of any list. Says once for all that are late when nothing else is left.
    pub(super) fn next_page(&mut self, told: bool) -> Next {
        loop {
            for (place, list) in self.0.iter_mut().enumerate() {
                if list.fill()
                    && let Some(head) = list.head.take()
                {
                    let files = std::iter::once(head).chain(&mut list.page).collect();
                    return Next::Page(place, files);
                }
            }
            let left: Vec<usize> = self.unready();
            let some_ended = left.len() < self.0.len() && !told;
            if left.is_empty() {
                return Next::End;
            }
            if some_ended && left.iter().all(|place| self.is_late(*place)) {
                return Next::Late;
            }
            self.wait_for(&left, some_ended);
        }
    }

    /// The places of lists that have not ended.
    pub(super) fn open(&self) -> impl Iterator<Item = usize> + '_ {
        self.0.iter().enumerate().filter(|(_, list)| !list.ended).map(|(place, _)| place)
    }

    fn is_late(&self, place: usize) -> bool {
        self.0.get(place).is_some_and(|list| list.left.is_zero())
    }

    /// The places of lists of which it is not known yet what comes next.
    fn unready(&mut self) -> Vec<usize> {
        let lists = self.0.iter_mut().enumerate();
        lists.filter_map(|(place, list)| (!list.fill()).then_some(place)).collect()
    }

    /// Waits until one of these goes on; where others wait with it, as long as they may.
    fn wait_for(&mut self, places: &[usize], counts: bool) {
        let waited: Vec<&List> = places.iter().filter_map(|place| self.0.get(*place)).collect();
        let mut select = Select::new();
        for list in &waited {
            select.recv(&list.pages);
        }
        let longest = waited.iter().map(|list| list.left).filter(|left| !left.is_zero()).min();
        let since = Instant::now();
        match longest.filter(|_| counts) {
            // The lists are looked at again, whatever it was.
            Some(longest) => drop(select.ready_timeout(longest)),
            None => drop(select.ready()),
        }
        let took = since.elapsed();
        for place in places.iter().filter(|_| counts) {
            if let Some(list) = self.0.get_mut(*place) {
                list.left = list.left.saturating_sub(took);
            }
        }
    }
}

impl List {
    /// Takes what is there; says whether it is known what comes next, a file or the end.
    fn fill(&mut self) -> bool {
        while self.head.is_none() && !self.ended {
            match self.page.next() {
                Some(file) => self.head = Some(file),
                None => match self.pages.try_recv() {
                    Ok(page) => {
                        let names = u32::try_from(page.len()).unwrap_or(u32::MAX);
                        let more = config::LIST_PATIENCE_NAME.saturating_mul(names);
                        self.left = self.left.saturating_add(more).min(self.patience);
                        self.page = page.into_iter();
                    }
                    Err(TryRecvError::Disconnected) => self.ended = true,
                    Err(TryRecvError::Empty) => return false,
                },
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::{Sender, unbounded};

    use super::*;

    fn lists(count: usize, patience: Duration) -> (Vec<Sender<Vec<Listed>>>, Lists) {
        let (send, pages): (Vec<_>, Vec<_>) = (0..count).map(|_| unbounded()).unzip();
        (send, Lists::new(pages, patience))
    }

    fn page(names: &[&str]) -> Vec<Listed> {
        let listed = |name: &&str| Listed {
            folder: None,
            peer: "p".parse().unwrap(),
            name: name.parse().unwrap(),
            length: None,
            root: None,
        };
        names.iter().map(listed).collect()
    }

    fn names(lists: &mut Lists) -> Vec<(String, usize)> {
        let next = || lists.next().map(|files| (files[0].name.to_string(), files.len()));
        std::iter::from_fn(next).collect()
    }

    #[test]
    fn lists_are_merged_by_name() {
        let (send, mut lists) = lists(2, Duration::from_secs(3600));
        send[0].send(page(&["a", "c"])).unwrap();
        send[1].send(page(&["b"])).unwrap();
        send[1].send(page(&["c"])).unwrap();
        drop(send);
        let expected = [("a", 1), ("b", 1), ("c", 2)];
        assert_eq!(names(&mut lists), expected.map(|(name, count)| (name.to_owned(), count)));
    }

    #[test]
    fn what_is_there_does_not_wait_for_a_list_that_is_stuck() {
        let (mut send, mut lists) = lists(2, Duration::from_millis(1));
        send[0].send(page(&["b", "c"])).unwrap();
        let stuck = send.pop().unwrap();
        drop(send);
        assert_eq!(lists.next().unwrap()[0].name.as_str(), "b");
        assert_eq!(lists.next().unwrap()[0].name.as_str(), "c");
        // It comes all the same, later.
        stuck.send(page(&["a"])).unwrap();
        drop(stuck);
        assert_eq!(names(&mut lists), [("a".to_owned(), 1)]);
    }

    #[test]
    fn a_table_is_told_when_the_rest_is_late() {
        let (mut send, mut lists) = lists(2, Duration::from_millis(1));
        send[0].send(page(&["b"])).unwrap();
        let stuck = send.pop().unwrap();
        drop(send);
        assert!(matches!(lists.next_page(false), Next::Page(0, files) if files.len() == 1));
        assert!(matches!(lists.next_page(false), Next::Late));
        assert_eq!(lists.open().collect::<Vec<_>>(), [1]);
        stuck.send(page(&["a"])).unwrap();
        drop(stuck);
        assert!(matches!(lists.next_page(true), Next::Page(1, _)));
        assert!(matches!(lists.next_page(true), Next::End));
    }
}
