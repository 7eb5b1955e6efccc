//! Every order in which threads can come to the most delicate hand-overs: `Cancel` and the store's
//! `Waiting`.
//!
//! Their files are compiled here a second time, with the primitives of `shuttle` in the place of
//! those of `src/sync.rs`, so that a scheduler of its own decides who runs next: it goes through
//! all orders where there are few enough, and takes many by chance where not, more of them with
//! `PEERSHARE_INTERLEAVINGS=1000000`. Time-outs never pass here, so a waiter that nobody wakes is a
//! deadlock, which the scheduler sees and fails on.

/// In the place of `crate::sync`.
mod sync {
    pub(crate) use shuttle::sync::{Arc, Mutex, MutexGuard, Weak};

    use std::sync::PoisonError;
    use std::time::{Duration, Instant};

    use shuttle::sync::mpsc::{self, RecvError};

    pub(crate) use shuttle::sync::mpsc::SyncSender as Sender;

    pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
        mutex.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As the channel of `crossbeam`, but no time passes.
    pub(crate) fn bounded<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
        let (sender, receiver) = mpsc::sync_channel(capacity);
        (sender, Receiver(receiver))
    }

    pub(crate) struct Receiver<T>(mpsc::Receiver<T>);

    impl<T> Receiver<T> {
        pub(crate) fn recv_deadline(&self, _: Instant) -> Result<T, RecvError> {
            self.0.recv()
        }

        pub(crate) fn recv_timeout(&self, _: Duration) -> Result<T, RecvError> {
            self.0.recv()
        }
    }
}

/// In the place of `crate::content`.
mod content {
    pub(crate) use peershare::content::ChunkIndex;
}

/// Tries every order.
fn in_every_order(work: impl Fn() + Send + Sync + 'static) {
    shuttle::check_dfs(work, None);
}

/// Tries many orders, for what has too many of them.
fn in_many_orders(work: impl Fn() + Send + Sync + 'static) {
    let rounds = std::env::var("PEERSHARE_INTERLEAVINGS").ok().and_then(|text| text.parse().ok());
    shuttle::check_random(work, rounds.unwrap_or(3000));
}

#[allow(dead_code)]
#[path = "../../src/transport"]
mod transport {
    mod cancel;

    use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
    use std::time::Duration;

    use peershare::transport::Closer;
    use shuttle::thread;

    use self::cancel::Cancel;
    use crate::sync::Arc;
    use crate::{in_every_order, in_many_orders};

    const LONG: Duration = Duration::from_secs(3600);

    /// A closer that counts how often it was closed.
    fn counting() -> (Closer, Arc<AtomicU32>) {
        let count = Arc::new(AtomicU32::new(0));
        let counted = count.clone();
        let close = move || {
            counted.fetch_add(1, SeqCst);
        };
        (Closer::new(close), count)
    }

    #[test]
    fn what_is_registered_while_the_wish_is_given_is_closed_once() {
        in_every_order(|| {
            let (cancel, (closer, count)) = (Cancel::new(), counting());
            let giving = cancel.clone();
            let giver = thread::spawn(move || giving.cancel());
            let registration = cancel.closes(closer);
            giver.join().unwrap();
            drop(registration);
            assert_eq!(count.load(SeqCst), 1);
        });
    }

    #[test]
    fn what_is_given_back_meanwhile_is_closed_at_most_once_and_never_later() {
        in_every_order(|| {
            let (cancel, (closer, count)) = (Cancel::new(), counting());
            let registration = cancel.closes(closer);
            let givers: Vec<_> = (0..2)
                .map(|_| {
                    let cancel = cancel.clone();
                    thread::spawn(move || cancel.cancel())
                })
                .collect();
            drop(registration);
            givers.into_iter().for_each(|giver| giver.join().unwrap());
            let before = count.load(SeqCst);
            cancel.cancel();
            assert!(before <= 1 && count.load(SeqCst) == before && cancel.is_cancelled());
        });
    }

    #[test]
    fn whoever_waits_is_woken_by_the_wish() {
        in_every_order(|| {
            let cancel = Cancel::new();
            let waiting = cancel.clone();
            let waiter = thread::spawn(move || waiting.wait(LONG));
            cancel.cancel();
            assert!(waiter.join().unwrap());
        });
    }

    #[test]
    fn a_child_that_is_made_meanwhile_follows_its_parent() {
        in_many_orders(|| {
            let parent = Cancel::new();
            let giving = parent.clone();
            let giver = thread::spawn(move || giving.cancel());
            let (child, registration) = parent.child();
            let (grandchild, further) = child.child();
            let waiter = thread::spawn(move || grandchild.wait(LONG));
            assert!(waiter.join().unwrap());
            giver.join().unwrap();
            drop((registration, further));
            assert!(child.is_cancelled());
        });
    }

    #[test]
    fn a_closer_may_use_the_cancel_that_closes_it() {
        in_every_order(|| {
            let (cancel, (late, count)) = (Cancel::new(), counting());
            let within = cancel.clone();
            let close = move || {
                assert!(within.is_cancelled());
                drop(within.closes(late.clone()));
                within.cancel();
            };
            let registration = cancel.closes(Closer::new(close));
            let giving = cancel.clone();
            let giver = thread::spawn(move || giving.cancel());
            cancel.cancel();
            giver.join().unwrap();
            drop(registration);
            assert_eq!(count.load(SeqCst), 1);
        });
    }
}

#[allow(dead_code)]
#[path = "../../src/store"]
mod store {
    mod waiting;

    use std::time::Instant;

    use peershare::content::{ChunkIndex, ChunkLayout, ChunkSet};
    use shuttle::thread;

    use self::waiting::Waiting;
    use crate::sync::{Arc, Mutex, lock};
    use crate::{in_every_order, in_many_orders};

    fn layout() -> ChunkLayout {
        ChunkLayout::new(3 * 16384, 16384).unwrap()
    }

    fn index(number: u32) -> ChunkIndex {
        layout().index(number).unwrap()
    }

    /// As a part file has them.
    struct Part {
        have: Mutex<ChunkSet>,
        waiting: Waiting,
    }

    impl Part {
        fn new() -> Arc<Self> {
            let have = Mutex::new(ChunkSet::none(&layout()));
            Arc::new(Self { have, waiting: Waiting::default() })
        }

        /// As `PartFile::write`.
        fn write(&self, number: u32) {
            lock(&self.have).insert(index(number));
            self.waiting.wake(index(number));
        }

        /// As `Part::wait`.
        fn wait(&self, number: u32) -> bool {
            let index = index(number);
            self.waiting.wait(index, Instant::now(), || lock(&self.have).contains(index))
        }

        fn waiter(self: &Arc<Self>, number: u32) -> thread::JoinHandle<bool> {
            let part = self.clone();
            thread::spawn(move || part.wait(number))
        }
    }

    #[test]
    fn a_chunk_that_comes_wakes_whoever_waits_for_it() {
        in_every_order(|| {
            let part = Part::new();
            let waiter = part.waiter(0);
            part.write(0);
            assert!(waiter.join().unwrap());
        });
    }

    #[test]
    fn the_end_wakes_those_whose_chunk_did_not_come_and_no_chunk_is_lost() {
        in_many_orders(|| {
            let part = Part::new();
            let waiters = [0, 0, 1, 2].map(|number| part.waiter(number));
            let writing = part.clone();
            let writer = thread::spawn(move || writing.write(1));
            part.write(0);
            writer.join().unwrap();
            part.waiting.end();
            let came = waiters.map(|waiter| waiter.join().unwrap());
            assert!(came[2] && !came[3], "{came:?}");
            assert!(came[0] && came[1], "{came:?}");
            assert!(part.waiting.is_over());
        });
    }

    #[test]
    fn a_wait_that_makes_no_sense_for_a_while_ends_and_none_lasts_for_ever() {
        in_many_orders(|| {
            let part = Part::new();
            let waiters = [0, 1].map(|number| part.waiter(number));
            part.waiting.allow(false);
            part.waiting.allow(true);
            part.write(0);
            part.waiting.end();
            waiters.into_iter().for_each(|waiter| {
                waiter.join().unwrap();
            });
            assert!(part.wait(0) && !part.wait(1));
        });
    }
}
