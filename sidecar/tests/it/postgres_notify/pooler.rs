//! What a pooler does that lends connections for a transaction: it passes questions and answers on, and no notification that
//! comes while nobody has the connection.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    thread,
};

/// Listens until the test's process ends.
pub(crate) struct Pooler(SocketAddr);

impl Pooler {
    pub(crate) fn start(server: u16) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                thread::spawn(move || lend(&client, server));
            }
        });
        Ok(Self(address))
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.0
    }
}

fn lend(client: &TcpStream, server: u16) -> io::Result<()> {
    let server = TcpStream::connect((Ipv4Addr::LOCALHOST, server))?;
    let (mut questions, mut answers) = (client.try_clone()?, server.try_clone()?);
    let to_server = server.try_clone()?;
    thread::spawn(move || {
        let _ = io::copy(&mut questions, &mut &to_server);
        let _ = to_server.shutdown(Shutdown::Both);
    });
    let passed = pass(&mut answers, &mut &*client);
    let _ = client.shutdown(Shutdown::Both);
    passed
}

/// Each message is a letter, its length with itself, and the rest.
fn pass(from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
    loop {
        let mut head = [0; 5];
        from.read_exact(&mut head)?;
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
        let mut rest = vec![0; usize::try_from(length).unwrap_or_default().saturating_sub(4)];
        from.read_exact(&mut rest)?;
        if head[0] != b'A' {
            to.write_all(&[&head[..], &rest].concat())?;
        }
    }
}
