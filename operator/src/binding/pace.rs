//! How often the pods of one namespace make its bindings be looked at.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use futures::{Stream, stream};
use tokio::{sync::mpsc, time::Instant};

/// The namespaces that come in, each at once, and then at most once per `pause`: what comes meanwhile is one touch at
/// the pause's end. However fast they come, none waits longer than the pause.
pub(super) fn paced(touched: mpsc::Receiver<String>, pause: Duration) -> impl Stream<Item = String> {
    let pace = Pace { touched, pause, resting: VecDeque::new(), again: HashMap::new() };
    stream::unfold(pace, |mut pace| async { Some((pace.next().await?, pace)) })
}

struct Pace {
    touched: mpsc::Receiver<String>,
    pause: Duration,
    /// The namespaces that rest and until when, in this order, since all rest for equally long.
    resting: VecDeque<(Instant, String)>,
    /// The same namespaces, and whether they were touched meanwhile.
    again: HashMap<String, bool>,
}

// === impl Pace ===

impl Pace {
    async fn next(&mut self) -> Option<String> {
        loop {
            let rested = self.resting.front().map(|(until, _)| *until);
            tokio::select! {
                () = tokio::time::sleep_until(rested.unwrap_or_else(Instant::now)), if rested.is_some() => {
                    let (_, namespace) = self.resting.pop_front()?;
                    if self.again.remove(&namespace) == Some(true) {
                        return Some(self.rests(namespace));
                    }
                }
                touched = self.touched.recv() => {
                    let namespace = touched?;
                    match self.again.get_mut(&namespace) {
                        Some(again) => *again = true,
                        None => return Some(self.rests(namespace)),
                    }
                }
            }
        }
    }

    fn rests(&mut self, namespace: String) -> String {
        self.resting.push_back((Instant::now() + self.pause, namespace.clone()));
        self.again.insert(namespace.clone(), false);
        namespace
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt as _;

    use super::*;

    const PAUSE: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn a_touch_passes_at_once_and_the_last_one_is_not_lost() {
        let (touch, touched) = mpsc::channel(16);
        let mut paced = Box::pin(paced(touched, PAUSE));
        let start = Instant::now();
        for namespace in ["a", "b", "a", "a"] {
            touch.send(namespace.to_owned()).await.unwrap();
        }
        let mut passed = Vec::new();
        for _ in 0..3 {
            passed.push((paced.next().await.unwrap(), start.elapsed().as_secs()));
        }
        assert_eq!(passed, [("a".into(), 0), ("b".into(), 0), ("a".into(), 1)]);
        assert!(tokio::time::timeout(PAUSE * 10, paced.next()).await.is_err(), "nobody touched it again");
        touch.send("a".to_owned()).await.unwrap();
        let late = Instant::now();
        assert_eq!(paced.next().await.unwrap(), "a");
        assert!(late.elapsed() < PAUSE, "after a rest it passes at once again");
    }
}
