//! A connection to MariaDB: as much of its protocol as tests need. Text queries, and a user without a password.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

/// How long the server may take for the next bytes of an answer.
const ANSWER: Duration = Duration::from_secs(30);

/// The largest packet of the protocol; a longer message would be several.
const PACKET: usize = 0xff_ffff;

/// What this client can do, as bits: long flags, protocol 4.1, transactions, 4.1's authentication, several
/// statements and several results, authentication plugins.
const CAPABILITIES: u32 = 0x4 | 0x200 | 0x2000 | 0x8000 | 0x1_0000 | 0x2_0000 | 0x8_0000;

/// In a status: another result follows.
const MORE_RESULTS: u16 = 0x8;

/// utf8mb4_general_ci.
const CHARACTER_SET: u8 = 45;

/// A row as text; `None` is NULL.
pub type Row = Vec<Option<String>>;

/// An open connection; statements on it follow one another.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    sequence: u8,
}

impl Client {
    /// Connects as `root` without a password, to no database.
    pub fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER))?;
        stream.set_write_timeout(Some(ANSWER))?;
        let mut client = Self { stream, sequence: 0 };
        // A refusal comes instead of the greeting: what the greeting says isn't needed.
        refused(&client.receive()?)?;
        let mut hello = CAPABILITIES.to_le_bytes().to_vec();
        hello.extend(u32::try_from(PACKET)?.to_le_bytes());
        hello.push(CHARACTER_SET);
        hello.extend([0; 23]);
        // The user, an empty answer to the challenge, and how that was made.
        hello.extend(b"root\0\0mysql_native_password\0");
        client.send(&hello)?;
        let mut answer = client.receive()?;
        if answer.first() == Some(&0xfe) {
            client.send(&[])?;
            answer = client.receive()?;
        }
        refused(&answer)?;
        Ok(client)
    }

    /// Runs statements separated by `;`, and returns the rows of the last that has any.
    pub fn query(&mut self, sql: &str) -> Result<Vec<Row>> {
        self.sequence = 0;
        let command = [&[3], sql.as_bytes()].concat();
        self.send(&command)?;
        let mut rows = Vec::new();
        while self.result(&mut rows)? {}
        Ok(rows)
    }

    /// Runs statements separated by `;`.
    pub fn execute(&mut self, sql: &str) -> Result<()> {
        self.query(sql).map(drop)
    }

    /// Reads one result; whether another follows.
    fn result(&mut self, rows: &mut Vec<Row>) -> Result<bool> {
        let head = self.receive()?;
        refused(&head)?;
        let mut head = Reader(&head);
        let columns = head.length()?.context("a file is asked for")?;
        if columns == 0 {
            // Rows affected and the last generated key come before the status.
            head.length()?;
            head.length()?;
            return Ok(head.u16()? & MORE_RESULTS != 0);
        }
        for _ in 0..columns {
            self.receive()?;
        }
        self.receive()?;
        rows.clear();
        loop {
            let packet = self.receive()?;
            refused(&packet)?;
            let mut reader = Reader(&packet);
            if packet.len() < 9 && packet.first() == Some(&0xfe) {
                // The end: after its mark and the number of warnings comes the status.
                reader.take(3)?;
                return Ok(reader.u16()? & MORE_RESULTS != 0);
            }
            let row: Result<Row> = (0..columns).map(|_| reader.text()).collect();
            rows.push(row?);
        }
    }

    fn send(&mut self, payload: &[u8]) -> Result<()> {
        if payload.len() >= PACKET {
            bail!("a statement of {} bytes", payload.len());
        }
        let mut packet = u32::try_from(payload.len())?.to_le_bytes();
        packet[3] = self.sequence;
        self.sequence = self.sequence.wrapping_add(1);
        self.stream.write_all(&[&packet, payload].concat()).context("sending to MariaDB")
    }

    fn receive(&mut self) -> Result<Vec<u8>> {
        let mut head = [0; 4];
        self.stream.read_exact(&mut head).context("MariaDB's answer")?;
        self.sequence = head[3].wrapping_add(1);
        let length = u32::from_le_bytes([head[0], head[1], head[2], 0]);
        if length as usize == PACKET {
            bail!("an answer of more than 16 MiB");
        }
        let mut payload = vec![0; length as usize];
        self.stream.read_exact(&mut payload).context("MariaDB's answer")?;
        Ok(payload)
    }
}

/// The server's error, if the packet is one.
fn refused(packet: &[u8]) -> Result<()> {
    if let Some((0xff, rest)) = packet.split_first() {
        bail!("MariaDB: {}", String::from_utf8_lossy(rest.get(2..).unwrap_or_default()));
    }
    Ok(())
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, bytes: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(bytes).context("MariaDB's answer broke off")?;
        self.0 = rest;
        Ok(taken)
    }

    fn u16(&mut self) -> Result<u16> {
        let bytes = self.take(2)?;
        Ok(u16::from_le_bytes([bytes[0], bytes[1]]))
    }

    /// A length in as few bytes as it takes; `None` stands for NULL.
    fn length(&mut self) -> Result<Option<usize>> {
        let more = match self.take(1)?[0] {
            0xfb => return Ok(None),
            0xfc => 2,
            0xfd => 3,
            0xfe => 8,
            length => return Ok(Some(length.into())),
        };
        let mut bytes = [0; 8];
        bytes[..more].copy_from_slice(self.take(more)?);
        Ok(Some(usize::try_from(u64::from_le_bytes(bytes))?))
    }

    fn text(&mut self) -> Result<Option<String>> {
        let Some(length) = self.length()? else { return Ok(None) };
        Ok(Some(String::from_utf8_lossy(self.take(length)?).into_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_read() {
        let mut reader = Reader(&[7, 0xfb, 0xfc, 1, 2, 0xfd, 1, 0, 1]);
        let lengths: Vec<_> = (0..4).map(|_| reader.length().unwrap()).collect();
        assert_eq!(lengths, [Some(7), None, Some(0x201), Some(0x1_0001)]);
        assert!(reader.length().is_err());
    }

    #[test]
    fn an_error_is_told() {
        let told = refused(b"\xff\x28\x04#42000You have an error").unwrap_err().to_string();
        assert_eq!(told, "MariaDB: #42000You have an error");
        refused(b"\0\0\0").unwrap();
    }
}
