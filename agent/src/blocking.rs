//! Calls that may hang in the kernel, each on a thread of its own and never twice at once.
//!
//! tokio's own blocking pool is not used: a task there cannot be given up, and the runtime waits for it at its end.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{Notify, oneshot};

/// The earlier call of the same name has not come back yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an earlier call still hangs in the kernel")]
pub struct Hung;

/// Names of the calls that are under way.
#[derive(Clone, Debug, Default)]
pub struct Blocking {
    under_way: Arc<Mutex<BTreeSet<String>>>,
    ended: Arc<Notify>,
}

impl Blocking {
    /// Runs `call` on a new thread. When the returned future is dropped, the thread goes on alone, and the next call
    /// of that name fails until it is back: a hung file system costs one thread, never more.
    ///
    /// # Errors
    /// [`Hung`] while an earlier call of that name is under way, or when no thread can be had.
    pub async fn run<T: Send + 'static>(
        &self,
        name: &str,
        call: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Hung> {
        if self.claim(name) { self.start(name, call).await } else { Err(Hung) }
    }

    /// True when no call of that name was under way; now one is.
    fn claim(&self, name: &str) -> bool {
        self.lock().insert(name.to_owned())
    }

    async fn start<T: Send + 'static>(
        &self,
        name: &str,
        call: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Hung> {
        let (sender, receiver) = oneshot::channel();
        let (under_way, key) = (self.clone(), name.to_owned());
        let thread = std::thread::Builder::new().name("look".to_owned()).spawn(move || {
            let value = call();
            under_way.lock().remove(&key);
            under_way.ended.notify_waiters();
            // Nobody listens when the check has given up; the value is of no use then.
            drop(sender.send(value));
        });
        if thread.is_err() {
            self.lock().remove(name);
            return Err(Hung);
        }
        receiver.await.map_err(|_| Hung)
    }

    /// As [`run`](Self::run), but waits for an earlier call of that name: several checks read the same file, and the
    /// time limit of each ends its waiting.
    ///
    /// # Errors
    /// [`Hung`] when no thread can be had.
    pub async fn run_in_turn<T: Send + 'static>(
        &self,
        name: &str,
        call: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Hung> {
        loop {
            let ended = self.ended.notified();
            tokio::pin!(ended);
            // Registered before the look, so that an end in between is not missed.
            ended.as_mut().enable();
            if self.claim(name) {
                return self.start(name, call).await;
            }
            ended.await;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeSet<String>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::{Blocking, Hung};
    use std::sync::mpsc;

    #[tokio::test]
    async fn a_hung_call_is_not_started_again_and_recovers_by_itself() {
        let blocking = Blocking::default();
        let (release, held) = mpsc::channel::<()>();
        let (ended, end) = mpsc::channel::<()>();
        let hanging = blocking.run("disk", move || {
            let outcome = held.recv();
            ended.send(()).unwrap();
            outcome.is_ok()
        });
        tokio::select! {
            biased;
            _ = hanging => panic!("it hangs"),
            () = tokio::task::yield_now() => {}
        }
        assert_eq!(blocking.run("disk", || 1).await, Err(Hung));
        assert_eq!(blocking.run("other", || 2).await, Ok(2));
        release.send(()).unwrap();
        end.recv().unwrap();
        while blocking.run("disk", || 3).await != Ok(3) {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn calls_in_turn_wait_for_each_other() {
        let blocking = Blocking::default();
        let (release, held) = mpsc::channel::<()>();
        let first = blocking.run_in_turn("file", move || held.recv().is_ok());
        let second = blocking.run_in_turn("file", || 2);
        let third = blocking.run_in_turn("file", || 3);
        let release = async move {
            tokio::task::yield_now().await;
            release.send(()).unwrap();
        };
        let (first, second, third, ()) = tokio::join!(first, second, third, release);
        assert_eq!((first, second, third), (Ok(true), Ok(2), Ok(3)));
    }
}
