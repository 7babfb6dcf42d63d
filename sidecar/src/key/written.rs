//! What databases read in many spellings, and change events write in one: instants, network addresses, bytes.

use std::net::IpAddr;

use super::looks::Look;

/// How a text looks that is written as events write one of these.
pub(super) fn look(text: &str) -> Option<Look> {
    instant(text)
        .or_else(|| is_address(text).then_some(Look::Address))
        .or_else(|| is_mac(text).then_some(Look::Mac))
}

/// `2026-11-21T02:05:06.789Z`: in UTC, with six digits of a second at most.
fn instant(text: &str) -> Option<Look> {
    let (whole, fraction) = text.strip_suffix('Z')?.split_at_checked(19)?;
    let form = whole.bytes().enumerate().all(|(i, b)| match i {
        4 | 7 => b == b'-',
        10 => b == b'T',
        13 | 16 => b == b':',
        _ => b.is_ascii_digit(),
    });
    // Midnight has a second spelling, and so has the minute after a leap second.
    let below = |at: usize, limit: &str| whole.get(at..at + 2).is_some_and(|digits| digits < limit);
    if !form || !below(11, "24") || !below(14, "60") || !below(17, "60") {
        return None;
    }
    let Some(digits) = fraction.strip_prefix('.') else {
        return fraction.is_empty().then_some(Look::Instant);
    };
    if digits.is_empty() || digits.len() > 6 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(if digits.ends_with('0') { Look::PaddedInstant } else { Look::Instant })
}

/// An address of a host or a network.
fn is_address(text: &str) -> bool {
    let (host, bits) = text.split_once('/').map_or((text, None), |(host, bits)| (host, Some(bits)));
    let Ok(address) = host.parse::<IpAddr>() else { return false };
    // All of an address's bits are never written.
    let most = if address.is_ipv4() { 32 } else { 128 };
    let shorter = |bits: &str| bits.parse::<u8>().is_ok_and(|n| n < most && n.to_string() == bits);
    address.to_string() == host && bits.is_none_or(shorter)
}

/// Six or eight bytes, as PostgreSQL writes them.
fn is_mac(text: &str) -> bool {
    let byte = |part: &str| {
        part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    matches!(text.len(), 17 | 23) && text.split(':').all(byte)
}

/// Whether bytes may be written so.
pub(super) fn is_base64(text: &str) -> bool {
    let digits = text.strip_suffix("==").or_else(|| text.strip_suffix('=')).unwrap_or(text);
    let digit = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'-' | b'_');
    text.len().is_multiple_of(4) && digits.bytes().all(digit)
}
