//! Starting threads: the one place where that is done, so that every thread has a name and nobody
//! forgets that the system may refuse one.
//!
//! # A thread that the system refuses
//!
//! Never is it a panic, or a part of the work that is silently left out. It is one of three:
//!
//! * others do the work: threads of the same kind that were started before, or the calling one, as
//!   in [`for_all`]
//! * nobody can: an error of the command, or of the one peer, that wanted it, or an answer to the
//!   peer that it was for
//! * it was a comfort, and the work goes on without: a bar, a sign of life, a head start. The log
//!   says so
//!
//! # Who joins a thread
//!
//! What is started [in a scope](start_in) ends with it. Of the others, whoever keeps the handle
//! joins them when it ends, in its `Drop` too. These are not joined by a handle:
//!
//! | thread | what ends it, and who knows |
//! |---|---|
//! | `session` | its server's `Cancel`; it gives back its seat at the end, and the server waits for all seats |
//! | `sweep`, `printer` | its work is over; [`Awaited`], as a disk or terminal may keep it for ever |
//! | `lookup` | the system's resolver answers, which nothing can hurry; it holds no more than the name |
//! | `signals` | the process, which it may end |

use std::cell::RefCell;
use std::convert::Infallible;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread::{self, Builder, JoinHandle, Scope, ScopedJoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};

/// Starts a thread of that name, of which Linux shows the first fifteen bytes. An error when the
/// system refuses it; `work` is dropped then.
pub fn start<T: Send + 'static>(
    name: impl Into<String>,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    let ration = Ration::current();
    Ration::take(ration.as_ref())
        .and_then(|()| builder(name).spawn(move || Ration::pass_on(ration, work)))
        .map_err(refused)
}

/// The same for a thread that ends with the scope.
pub fn start_in<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    name: impl Into<String>,
    work: impl FnOnce() -> T + Send + 'scope,
) -> io::Result<ScopedJoinHandle<'scope, T>> {
    let ration = Ration::current();
    Ration::take(ration.as_ref())
        .and_then(|()| builder(name).spawn_scoped(scope, move || Ration::pass_on(ration, work)))
        .map_err(refused)
}

/// A thread that may take longer than anybody wants to wait for it.
#[derive(Debug)]
pub struct Awaited {
    thread: JoinHandle<()>,
    /// Closes when the work is over.
    ended: Receiver<Infallible>,
}

/// Starts a thread like [`start`] does, to be joined as far as there is time for that.
pub fn start_awaited(
    name: impl Into<String>,
    work: impl FnOnce() + Send + 'static,
) -> io::Result<Awaited> {
    let (ends, ended) = bounded(0);
    let work = move || {
        // Dropped also where the work panics.
        let _ends = ends;
        work();
    };
    start(name, work).map(|thread| Awaited { thread, ended })
}

impl Awaited {
    /// Whether it has ended, so that joining it takes no time.
    pub fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    /// Joins it if it ends within that time; says whether it did. Otherwise it goes on by itself.
    pub fn join_within(self, time: Duration) -> bool {
        if self.ended.recv_timeout(time) == Err(RecvTimeoutError::Timeout) {
            return false;
        }
        let name = self.thread.thread().name().unwrap_or_default().to_owned();
        if self.thread.join().is_err() {
            log::error!("the thread {name} had failed");
        }
        true
    }
}

/// Does the same for all of `items` at once, each in a thread of its own; the results are in the
/// order of the items, `None` for one whose work ended by a fault of ours. What gets no thread is
/// done by the calling one, one after the other.
pub fn for_all<I: Sync, T: Send>(
    items: &[I],
    name: impl Fn(&I) -> String,
    work: impl Fn(&I) -> T + Sync,
) -> Vec<Option<T>> {
    let work = &work;
    thread::scope(|scope| {
        let begin = |item| (item, start_in(scope, name(item), move || work(item)));
        let begun: Vec<_> = items.iter().map(begin).collect();
        let end = |(item, thread): (_, io::Result<ScopedJoinHandle<'_, T>>)| match thread {
            Ok(thread) => thread.join().ok(),
            Err(error) => {
                log::debug!("{} goes on without a thread of its own: {error}", name(item));
                Some(work(item))
            }
        };
        begun.into_iter().map(end).collect()
    })
}

fn builder(name: impl Into<String>) -> Builder {
    Builder::new().name(name.into())
}

fn refused(error: io::Error) -> io::Error {
    let what = format!(
        "the system refuses a thread: {error}; try again when less is running, or raise `ulimit -u`"
    );
    io::Error::new(error.kind(), what)
}

/// For tests: refuses some of the threads that the calling thread starts, and the threads that it
/// starts, and so on.
#[derive(Clone, Debug)]
pub struct Ration(Arc<Rationed>);

#[derive(Debug)]
struct Rationed {
    refused: Range<usize>,
    asked: AtomicUsize,
}

thread_local! {
    static RATION: RefCell<Option<Ration>> = const { RefCell::new(None) };
}

impl Ration {
    /// Those are refused, in the order in which they are asked for, the first being 0.
    pub fn refusing(refused: Range<usize>) -> Self {
        Self(Arc::new(Rationed { refused, asked: AtomicUsize::new(0) }))
    }

    /// How many threads were asked for so far.
    pub fn asked(&self) -> usize {
        self.0.asked.load(Relaxed)
    }

    /// Does the work with this in force.
    pub fn during<T>(&self, work: impl FnOnce() -> T) -> T {
        let before = RATION.replace(Some(self.clone()));
        let result = work();
        RATION.set(before);
        result
    }

    fn current() -> Option<Self> {
        RATION.with_borrow(Clone::clone)
    }

    fn take(ration: Option<&Self>) -> io::Result<()> {
        let Some(Self(rationed)) = ration else { return Ok(()) };
        match rationed.refused.contains(&rationed.asked.fetch_add(1, Relaxed)) {
            true => Err(io::ErrorKind::WouldBlock.into()),
            false => Ok(()),
        }
    }

    /// What a new thread does first.
    fn pass_on<T>(ration: Option<Self>, work: impl FnOnce() -> T) -> T {
        RATION.set(ration);
        work()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_have_names() {
        let name = || thread::current().name().map(str::to_owned);
        assert_eq!(start("one", name).unwrap().join().unwrap().as_deref(), Some("one"));
        let scoped = thread::scope(|scope| start_in(scope, "two", name).unwrap().join().unwrap());
        assert_eq!(scoped.as_deref(), Some("two"));
    }

    #[test]
    fn a_refused_thread_is_an_error_that_says_what_to_do() {
        let error = Ration::refusing(0..1).during(|| start("one", || ()).unwrap_err());
        assert!(error.to_string().contains("ulimit -u"), "{error}");
        assert!(start("one", || ()).is_ok(), "it counts for its thread alone");
    }

    #[test]
    fn one_that_takes_long_is_joined_as_far_as_there_is_time() {
        let (go, gone) = bounded::<()>(0);
        let thread = start_awaited("waits", move || gone.iter().for_each(drop)).unwrap();
        assert!(!thread.has_ended());
        assert!(!thread.join_within(Duration::ZERO));
        drop(go);
        let thread = start_awaited("ends", || ()).unwrap();
        assert!(thread.join_within(Duration::from_secs(60)));
        let thread = start_awaited("fails", || panic!("this test wants it so")).unwrap();
        assert!(thread.join_within(Duration::from_secs(60)));
    }

    #[test]
    fn the_calling_thread_does_what_gets_none() {
        for refused in [0..0, 0..1, 1..3, 0..usize::MAX] {
            let work = || for_all(&[1, 2, 3], |item| format!("n-{item}"), |item| item * 2);
            let done = Ration::refusing(refused).during(work);
            assert_eq!(done, [Some(2), Some(4), Some(6)]);
        }
    }

    #[test]
    fn a_ration_goes_on_to_threads_that_are_started_by_threads() {
        let ration = Ration::refusing(1..2);
        let inner = || start("inner", || ()).is_err();
        assert!(ration.during(|| start("outer", inner).unwrap().join().unwrap()));
        assert_eq!(ration.asked(), 2);
    }
}
