//! Sidecars that aren't there: one address each, all answered for by one thread.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};

/// Files beside the listeners: connections, standard streams, children's.
const OTHERS: usize = 256;

/// How they take a question.
#[derive(Clone)]
pub(super) enum Manner {
    /// With these bytes.
    Answers(Arc<[u8]>),
    /// Not at all: the connection stands, and nothing comes.
    Silent,
}

/// They end when this is dropped.
pub(super) struct Fleet {
    addresses: Vec<SocketAddr>,
    /// When each was asked: when its answer had been written, or the connection taken.
    asked: Arc<[Mutex<Vec<Instant>>]>,
    _runtime: Runtime,
}

impl Fleet {
    pub(super) fn start(count: usize, manner: &Manner) -> Result<Self> {
        allow_files(count + OTHERS)?;
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let asked: Arc<[_]> = (0..count).map(|_| Mutex::default()).collect();
        let mut addresses = Vec::with_capacity(count);
        for number in 0..count {
            // Of 127.64.0.0/10: each pod has an address of its own.
            let host = Ipv4Addr::from_bits(0x7f40_0001 + u32::try_from(number)?);
            let listener = runtime.block_on(TcpListener::bind((host, 0)));
            let listener = listener.with_context(|| format!("listening on {host}"))?;
            addresses.push(listener.local_addr()?);
            runtime.spawn(serve(listener, manner.clone(), Arc::clone(&asked), number));
        }
        Ok(Self { addresses, asked, _runtime: runtime })
    }

    pub(super) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// When each was asked since then.
    pub(super) fn times(&self, since: Instant) -> Vec<Vec<Instant>> {
        let of = |times: &Mutex<Vec<Instant>>| {
            let times = times.lock().unwrap_or_else(PoisonError::into_inner);
            times.iter().copied().filter(|at| *at >= since).collect()
        };
        self.asked.iter().map(of).collect()
    }
}

async fn serve(listener: TcpListener, manner: Manner, asked: Arc<[Mutex<Vec<Instant>>]>, number: usize) {
    // What fails, a connection that is gone already say, is the asker's to notice.
    while let Ok((stream, _)) = listener.accept().await {
        let note = || asked[number].lock().unwrap_or_else(PoisonError::into_inner).push(Instant::now());
        let _ = answer(stream, &manner, note).await;
    }
}

/// One question; the asker closes first, as with a sidecar.
async fn answer(mut stream: TcpStream, manner: &Manner, note: impl FnOnce()) -> std::io::Result<()> {
    let mut read = [0; 4096];
    match manner {
        Manner::Answers(bytes) => {
            // It fits into one packet.
            if stream.read(&mut read).await? > 0 {
                stream.write_all(bytes).await?;
                note();
            }
        }
        Manner::Silent => note(),
    }
    while stream.read(&mut read).await? > 0 {}
    Ok(())
}

/// Raises the soft limit of open files as far as needed.
fn allow_files(needed: usize) -> Result<()> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let enough = |limit: Option<u64>| limit.is_none_or(|limit| limit >= needed as u64);
    if enough(current) {
        return Ok(());
    }
    ensure!(enough(maximum), "{needed} files have to be open at once (ulimit -Hn allows {maximum:?})");
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
        .context("raising the limit of open files")
}
