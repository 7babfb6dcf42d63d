//! A TCP proxy inside the test that can do to connections what a network does.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};

/// Stands between clients and a server on loopback. Changes concern both directions unless they name one.
///
/// Its threads end with the connections that they carry; dropping it ends them all.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    target: SocketAddr,
    mode: Mode,
    delay: Duration,
    links: Vec<Arc<Link>>,
    counts: Counts,
    next: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Pass,
    Stall(Silence),
    Refuse,
    Closed,
}

/// Which direction of a connection is silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    /// Neither side hears the other.
    Both,
    /// The server hears nothing.
    ToServer,
    /// The client hears nothing.
    ToClient,
}

/// What a [`Proxy`] has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections that were passed on.
    pub passed: u64,
    /// Connections closed by [`Proxy::cut`] or [`Proxy::refuse`].
    pub cut: u64,
    /// Connections that were refused.
    pub refused: u64,
    /// Blocks of bytes that were held back for a while, or for good.
    pub held: u64,
}

#[derive(Debug)]
struct Link {
    id: u64,
    ends: [TcpStream; 2],
    /// Nothing comes through to the server, and to the client, any more, and nobody is told.
    abandoned: [AtomicBool; 2],
}

/// A direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    ToServer,
    ToClient,
}

#[expect(clippy::must_use_candidate, reason = "they do something, and then tell how much")]
impl Proxy {
    /// A proxy on a free port of 127.0.0.1 that passes everything to and from `target`.
    pub fn start(target: SocketAddr) -> Result<Self> {
        // An ephemeral port is enough: this process keeps it open as long as it is needed.
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("listening for the proxy")?;
        let address = listener.local_addr()?;
        let state = State {
            target,
            mode: Mode::Pass,
            delay: Duration::ZERO,
            links: Vec::new(),
            counts: Counts::default(),
            next: 0,
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming() {
                if accepting.lock().mode == Mode::Closed {
                    return;
                }
                if let Ok(client) = client {
                    let shared = Arc::clone(&accepting);
                    thread::spawn(move || shared.connect(client));
                }
            }
        });
        Ok(Self { address, shared })
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What was done so far.
    pub fn counts(&self) -> Counts {
        self.shared.lock().counts
    }

    /// How many connections are open, those that are dead for good included.
    pub fn connections(&self) -> usize {
        self.shared.lock().links.len()
    }

    /// Sends new connections to another server. Open ones stay where they are.
    pub fn point_to(&self, target: SocketAddr) {
        self.shared.change(|state| state.target = target);
    }

    /// Passes everything on, at once: ends [`Proxy::stall`], [`Proxy::refuse`] and [`Proxy::delay`].
    pub fn pass(&self) {
        self.shared.change(|state| {
            state.mode = Mode::Pass;
            state.delay = Duration::ZERO;
        });
    }

    /// Lets nothing through until [`Proxy::pass`], and loses nothing: connections stay open, new ones are accepted
    /// and wait.
    pub fn stall(&self) {
        self.silence(Silence::Both);
    }

    /// As [`Proxy::stall`], and open connections go on in the direction that isn't silent. New ones wait all the same:
    /// a handshake takes both.
    pub fn silence(&self, silence: Silence) {
        self.shared.change(|state| state.mode = Mode::Stall(silence));
    }

    /// Leaves every open connection half-open: nothing comes through it any more, ever, and neither side is told.
    /// New connections are passed. Returns how many there were.
    pub fn abandon(&self) -> usize {
        self.abandon_to(Silence::Both)
    }

    /// As [`Proxy::abandon`], and the direction that isn't silent goes on: only who is heard there can end the
    /// connection.
    pub fn abandon_to(&self, silence: Silence) -> usize {
        self.shared.change(|state| {
            for link in &state.links {
                for way in [Way::ToServer, Way::ToClient].into_iter().filter(|way| silence.is_of(*way)) {
                    link.abandoned[way as usize].store(true, Ordering::Release);
                }
            }
            state.links.len()
        })
    }

    /// Closes every open connection, and returns how many there were. New ones are passed.
    pub fn cut(&self) -> usize {
        self.shared.change(State::cut)
    }

    /// Closes every open connection and, until [`Proxy::pass`], every new one. Returns how many were open.
    pub fn refuse(&self) -> usize {
        self.shared.change(|state| {
            state.mode = Mode::Refuse;
            state.cut()
        })
    }

    /// Holds every block of bytes back for so long, until [`Proxy::pass`].
    pub fn delay(&self, by: Duration) {
        self.shared.change(|state| state.delay = by);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.change(|state| {
            state.mode = Mode::Closed;
            state.cut()
        });
        // Wakes the thread that accepts, which then ends.
        let _ = TcpStream::connect(self.address);
    }
}

impl State {
    fn cut(&mut self) -> usize {
        let links = std::mem::take(&mut self.links);
        for link in &links {
            link.close();
        }
        self.counts.cut += links.len() as u64;
        links.len()
    }
}

impl Link {
    fn close(&self) {
        for end in &self.ends {
            // It may be closed already.
            let _ = end.shutdown(Shutdown::Both);
        }
    }

    fn is_abandoned(&self, way: Way) -> bool {
        self.abandoned[way as usize].load(Ordering::Acquire)
    }
}

impl Silence {
    fn is_of(self, way: Way) -> bool {
        match self {
            Self::Both => true,
            Self::ToServer => way == Way::ToServer,
            Self::ToClient => way == Way::ToClient,
        }
    }
}

impl Mode {
    fn holds(self, way: Way) -> bool {
        matches!(self, Self::Stall(silence) if silence.is_of(way))
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        let done = f(&mut self.lock());
        self.changed.notify_all();
        done
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    /// Carries one client's connection until it ends.
    fn connect(self: &Arc<Self>, client: TcpStream) {
        let mut state = self.lock();
        while matches!(state.mode, Mode::Stall(_)) {
            state = self.wait(state);
        }
        if state.mode != Mode::Pass {
            state.counts.refused += 1;
            return;
        }
        let target = state.target;
        drop(state);
        // Where the server isn't there the client's connection is closed: as near to a refusal as a proxy comes.
        let Ok(server) = TcpStream::connect_timeout(&target, Duration::from_secs(5)) else { return };
        let (Ok(to_server), Ok(to_client)) = (server.try_clone(), client.try_clone()) else { return };
        // Without effect on a connection that has ended meanwhile.
        let _ = (server.set_nodelay(true), client.set_nodelay(true));
        let mut state = self.lock();
        if matches!(state.mode, Mode::Refuse | Mode::Closed) {
            state.counts.refused += 1;
            return;
        }
        state.counts.passed += 1;
        state.next += 1;
        let ends = [to_client, to_server];
        let link = Arc::new(Link { id: state.next, ends, abandoned: Default::default() });
        state.links.push(Arc::clone(&link));
        drop(state);
        let (back, other) = (Arc::clone(self), Arc::clone(&link));
        let (Ok(from_server), Ok(to_client)) = (server.try_clone(), client.try_clone()) else { return };
        let backward = thread::spawn(move || back.carry(&other, Way::ToClient, from_server, to_client));
        self.carry(&link, Way::ToServer, client, server);
        // It ends like this one: whichever does first closes both ends.
        let _ = backward.join();
    }

    /// Carries one direction until either end closes.
    fn carry(&self, link: &Link, way: Way, mut from: TcpStream, mut to: TcpStream) {
        let mut block = vec![0; 64 * 1024];
        loop {
            let read = from.read(&mut block).unwrap_or(0);
            let mut state = self.lock();
            if state.mode.holds(way) || link.is_abandoned(way) {
                state.counts.held += 1;
            }
            // The end of one side isn't told to the other either.
            while (state.mode.holds(way) || link.is_abandoned(way)) && state.has(link) {
                state = self.wait(state);
            }
            let delay = state.delay;
            drop(state);
            if !delay.is_zero() {
                thread::sleep(delay);
            }
            if read == 0 || to.write_all(&block[..read]).is_err() {
                link.close();
                // The other direction may be silent for good; now it ends, too.
                return self.change(|state| state.links.retain(|other| other.id != link.id));
            }
        }
    }
}

impl State {
    fn has(&self, link: &Link) -> bool {
        self.links.iter().any(|other| other.id == link.id)
    }
}
