//! What has come on a connection and isn't taken yet, where a task of its own takes it from the connection: as much as
//! there is room for.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Instant,
};

use tokio::sync::mpsc;

use super::size;
use crate::{record::Fields, source::transport::ReadError};

/// How much may wait, in bytes.
const MOST: usize = 64 << 20;

/// Where messages are put.
pub(in crate::source) struct Slot {
    sender: mpsc::UnboundedSender<Fields>,
    fill: Arc<Fill>,
}

/// Where they are taken from.
pub(in crate::source) struct Inbox {
    receiver: mpsc::UnboundedReceiver<Fields>,
    fill: Arc<Fill>,
}

#[derive(Default)]
struct Fill {
    bytes: AtomicUsize,
    /// Whether a message had no room: what comes after it is worthless.
    is_over: AtomicBool,
}

pub(in crate::source) fn new() -> (Slot, Inbox) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let fill = Arc::new(Fill::default());
    (Slot { sender, fill: Arc::clone(&fill) }, Inbox { receiver, fill })
}

impl Slot {
    /// Puts a message in; `false` if nobody will take any more, because it has no room, or because nobody is there.
    pub(in crate::source) fn put(&self, message: Fields) -> bool {
        let size = size(&message);
        if self.fill.bytes.fetch_add(size, Ordering::AcqRel).saturating_add(size) > MOST {
            self.fill.is_over.store(true, Ordering::Release);
        }
        !self.fill.is_over.load(Ordering::Acquire) && self.sender.send(message).is_ok()
    }
}

impl Inbox {
    /// Moves what is there to the end of `heard`; if there is nothing, it waits until then for the first. Whoever put it in
    /// being gone is the connection's end.
    pub(in crate::source) async fn next(
        &mut self,
        heard: &mut VecDeque<Fields>,
        until: Instant,
    ) -> Result<(), ReadError> {
        if self.take(heard)? {
            return Ok(());
        }
        match tokio::time::timeout_at(until.into(), self.receiver.recv()).await {
            Ok(Some(message)) => {
                self.fill.bytes.fetch_sub(size(&message), Ordering::AcqRel);
                heard.push_back(message);
                self.take(heard).map(drop)
            }
            Ok(None) => Err(ReadError::Broken),
            Err(_) => Ok(()),
        }
    }

    /// Moves what is there to the end of `heard`; whether there was anything.
    pub(in crate::source) fn take(&mut self, heard: &mut VecDeque<Fields>) -> Result<bool, ReadError> {
        let before = heard.len();
        while let Ok(message) = self.receiver.try_recv() {
            self.fill.bytes.fetch_sub(size(&message), Ordering::AcqRel);
            heard.push_back(message);
        }
        if self.fill.is_over.load(Ordering::Acquire) {
            return Err(ReadError::Overrun);
        }
        Ok(heard.len() > before)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::VecDeque,
        time::{Duration, Instant},
    };

    use super::{MOST, ReadError};

    fn message(size: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
        vec![(b"freshet".to_vec(), vec![b'x'; size])]
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_put_in_is_taken_in_order_and_the_end_is_told() {
        let (slot, mut inbox) = super::new();
        let mut heard = VecDeque::new();
        inbox.next(&mut heard, Instant::now() + Duration::from_millis(1)).await.unwrap();
        assert!(heard.is_empty());
        assert!(slot.put(message(1)) && slot.put(message(2)));
        drop(slot);
        inbox.next(&mut heard, Instant::now()).await.unwrap();
        assert_eq!(heard, [message(1), message(2)]);
        let end = inbox.next(&mut heard, Instant::now()).await;
        assert!(matches!(end, Err(ReadError::Broken)));
    }

    #[test]
    fn what_has_no_room_is_never_left_out_silently() {
        let (slot, mut inbox) = super::new();
        let mut heard = VecDeque::new();
        assert!(slot.put(message(MOST / 2)));
        assert!(inbox.take(&mut heard).unwrap());
        assert!(slot.put(message(MOST / 2)), "there is room again");
        assert!(!slot.put(message(MOST / 2)));
        assert!(!slot.put(message(1)), "it isn't known what the one before it was");
        assert!(matches!(inbox.take(&mut heard), Err(ReadError::Overrun)));
    }
}
