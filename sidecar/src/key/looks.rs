//! How the texts of a column look whose type nobody declared, and what that allows.
//!
//! A database reads `7`, `007` and `7.0` as one number, and a UUID in any case, with dashes or without; an event
//! spells the row in one of these ways. So of texts that look like numbers or UUIDs a request may use only the
//! canonical way, until events have shown another. That a column is a boolean, which a database reads from many words
//! (`t`, `TRUE`, `yes`, `1`), only events can tell: from then on a request may use only their two. Likewise with what
//! [`written`] knows: instants, addresses and bytes.
//!
//! MariaDB and MySQL compare texts by a collation, which no event tells: by default `ab`, `AB` and `áb` are one. There a
//! column of texts has to be declared.

use super::{is_integer, is_uuid, written};

/// How one text looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// Like nothing of the others.
    Plain,
    /// `7`, `-7`, `0`.
    Integer,
    /// `007`: no number is written so.
    Padded,
    /// `7.00`: digits after the point.
    Decimal(usize),
    /// Whatever else a database may read as a number.
    OddNumber,
    /// Lower case with dashes.
    Uuid,
    /// Upper case with dashes.
    UpperUuid,
    /// Lower case without dashes.
    BareUuid,
    /// Upper case without dashes.
    UpperBareUuid,
    /// Whatever else a database may read as a UUID.
    OddUuid,
    /// `2026-11-21T02:05:06.789Z`.
    Instant,
    /// An instant with zeros at its end: as many digits as its column has.
    PaddedInstant,
    /// `10.0.0.1`, `10.0.0.0/8`, `::1`.
    Address,
    /// `08:00:2b:01:02:03`.
    Mac,
}

/// What events have shown of a column: which looks its texts have had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Looks {
    /// Bits by look.
    looks: u32,
    /// Bits by number of digits after the point.
    scales: u64,
}

const PLAIN: u32 = 1;
const NUMBER: u32 = 1 << 1;
const INTEGER: u32 = 1 << 2;
const PADDED: u32 = 1 << 3;
const UUIDS: [(Look, u32); 4] = [
    (Look::Uuid, 1 << 4),
    (Look::UpperUuid, 1 << 5),
    (Look::BareUuid, 1 << 6),
    (Look::UpperBareUuid, 1 << 7),
];
const OTHER: u32 = 1 << 8;
const AS_TEXT: u32 = 1 << 9;
const AS_NUMBER: u32 = 1 << 10;
const AS_BOOL: u32 = 1 << 11;
const ODD_NUMBER: u32 = 1 << 12;
const INSTANT: u32 = 1 << 13;
const PADDED_INSTANT: u32 = 1 << 14;
const ADDRESS: u32 = 1 << 15;
const MAC: u32 = 1 << 16;
/// Some text was no base64.
const NOT_BASE64: u32 = 1 << 17;
/// Some text was filled up with `=`, as base64 is.
const FILLED_UP: u32 = 1 << 18;
/// The database compares texts by a collation that nobody knows.
const COLLATED: u32 = 1 << 19;

const A_NUMBER: &str = "a number as change events spell it (declare the column as Text if it isn't one)";
const A_BOOL: &str = "`true` or `false`, as change events spell a boolean";
const A_TEXT: &str = "a text whose collation is known: declare the column (type: Text, collation)";
const A_FORM: &str = "spelled as change events spell this column (declare it as Text if it is one)";
const A_UUID: &str = "a UUID as change events spell it (declare the column as Text if it isn't one)";

// === impl Look ===

impl Look {
    /// UUIDs first: 32 digits are looked at as one.
    pub(super) fn of(text: &str) -> Self {
        uuid(text).or_else(|| number(text)).or_else(|| written::look(text)).unwrap_or(Self::Plain)
    }

    /// The bit of what only databases read in several ways, and events write in one.
    fn strict_bit(self) -> u32 {
        match self {
            Self::Instant => INSTANT,
            Self::PaddedInstant => PADDED_INSTANT,
            Self::Address => ADDRESS,
            Self::Mac => MAC,
            _ => 0,
        }
    }
}

fn uuid(text: &str) -> Option<Look> {
    let trimmed = text.trim();
    let bare = trimmed.strip_prefix('{').and_then(|t| t.strip_suffix('}')).unwrap_or(trimmed);
    let digits = bare.bytes().filter(u8::is_ascii_hexdigit).count();
    if digits != 32 || !bare.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit()) {
        return None;
    }
    let upper = !text.bytes().any(|b| b.is_ascii_lowercase());
    let lower = !text.bytes().any(|b| b.is_ascii_uppercase());
    Some(match (text.len(), lower, upper) {
        (36, true, _) if is_uuid(text) => Look::Uuid,
        (36, _, true) if is_uuid(&text.to_ascii_lowercase()) => Look::UpperUuid,
        (32, true, _) => Look::BareUuid,
        (32, _, true) => Look::UpperBareUuid,
        _ => Look::OddUuid,
    })
}

fn number(text: &str) -> Option<Look> {
    if is_integer(text) {
        return Some(Look::Integer);
    }
    let digits = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit());
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    if digits(unsigned) && text != "-0" {
        return Some(Look::Padded);
    }
    if let Some((whole, fraction)) = unsigned.split_once('.')
        && (whole == "0" || is_integer(whole) && !whole.starts_with('-'))
        && digits(fraction)
        && !(text.starts_with('-') && unsigned.bytes().all(|b| b == b'0' || b == b'.'))
    {
        return Some(Look::Decimal(fraction.len()));
    }
    // Blanks around it, signs, underscores, exponents, other bases, and what isn't a number by name.
    let plain = text.trim().trim_start_matches(['+', '-']).trim_start().to_ascii_lowercase();
    let digit = |b: u8| b.is_ascii_digit() || b == b'_';
    let based = ["0x", "0o", "0b"].into_iter().find_map(|base| plain.strip_prefix(base));
    let named = ["nan", "inf", "infinity"].contains(&plain.as_str());
    let (mantissa, exponent) = plain.split_once('e').unwrap_or((&plain, "0"));
    let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    let odd = named
        || based.is_some_and(|t| !t.is_empty() && t.bytes().all(|b| b.is_ascii_hexdigit() || b == b'_'))
        || mantissa.bytes().any(|b| b.is_ascii_digit())
            && mantissa.bytes().all(|b| digit(b) || b == b'.')
            && mantissa.matches('.').count() <= 1
            && digits(exponent);
    odd.then_some(Look::OddNumber)
}

// === impl Looks ===

impl Looks {
    /// Nothing was shown yet.
    pub const NONE: Self = Self { looks: 0, scales: 0 };

    /// Whether every text so far was an integer that the event carried as a number.
    pub(crate) fn only_integers(self) -> bool {
        self == Self::NONE.with_number("0")
    }

    /// With what an event carried as a JSON number.
    pub(super) fn with_number(self, text: &str) -> Self {
        let this = self.carried(AS_NUMBER);
        if is_integer(text) { Self { looks: this.looks | NUMBER, ..this } } else { this.with(Look::of(text)) }
    }

    /// With what an event carried as a text; `collated` if the database compares texts by a collation.
    pub(super) fn with_text(self, text: &str, collated: bool) -> Self {
        let this = self.carried(AS_TEXT).with(Look::of(text));
        let seen =
            [(collated, COLLATED), (!written::is_base64(text), NOT_BASE64), (text.ends_with('='), FILLED_UP)];
        let bits = seen.iter().filter(|(is, _)| *is).fold(0, |bits, (_, bit)| bits | bit);
        Self { looks: this.looks | bits, ..this }
    }

    /// With the knowledge that the database compares texts by a collation.
    pub(super) fn with_collation(self) -> Self {
        Self { looks: self.looks | COLLATED, ..self }
    }

    /// Whether the database compares texts by a collation.
    pub(super) fn is_collated(self) -> bool {
        self.looks & COLLATED != 0
    }

    /// With what an event carried as a JSON boolean.
    pub(super) fn with_bool(self) -> Self {
        self.carried(AS_BOOL)
    }

    /// A column that is carried otherwise than before has another type now: all else that was shown is past.
    fn carried(self, how: u32) -> Self {
        if self.looks & how == 0 { Self { looks: how, ..Self::NONE } } else { self }
    }

    fn with(self, look: Look) -> Self {
        let looks = self.looks
            | match look {
                Look::Plain => PLAIN,
                Look::Integer => INTEGER,
                Look::Padded => PADDED,
                Look::Decimal(scale) if scale < 64 => {
                    return Self { looks: self.looks | OTHER, scales: self.scales | 1 << scale };
                }
                Look::OddNumber => OTHER | ODD_NUMBER,
                Look::Decimal(_) | Look::OddUuid => OTHER,
                strict if strict.strict_bit() != 0 => strict.strict_bit(),
                uuid => uuid_bit(uuid),
            };
        Self { looks, ..self }
    }

    /// What a request's text should have been, if no event would name a row so.
    pub(super) fn refuses(self, text: &str) -> Option<&'static str> {
        let shown = |bit| self.looks & bit != 0;
        if shown(AS_BOOL) {
            return (!matches!(text, "true" | "false")).then_some(A_BOOL);
        }
        // A number that begins with zeros is a text, and then other spellings are other rows.
        let text_column = shown(PADDED);
        // A floating-point number is written with an exponent where it is large or small (`1.0E7`), and zero can have
        // a sign: no other spelling names such a row.
        let floating = shown(AS_NUMBER) && shown(ODD_NUMBER);
        let scales = self.scales.count_ones();
        let look = Look::of(text);
        if let Some(form) = self.refuses_look(look, text) {
            return Some(form);
        }
        let good = match look {
            Look::Plain | Look::Instant | Look::PaddedInstant | Look::Address | Look::Mac => true,
            Look::Integer => text_column || scales == 0 && !floating,
            Look::Padded => text_column,
            // Of several scales nobody can say which one a row is spelled with.
            Look::Decimal(scale) => {
                scale < 64
                    && self.scales & (1 << scale) != 0
                    && (text_column || scales == 1 && !shown(INTEGER | NUMBER) && !floating)
            }
            Look::OddNumber | Look::OddUuid => false,
            Look::Uuid => UUIDS.iter().all(|(_, bit)| !shown(*bit)) || shown(uuid_bit(look)),
            Look::UpperUuid | Look::BareUuid | Look::UpperBareUuid => shown(uuid_bit(look)),
        };
        let uuid = look == Look::OddUuid || uuid_bit(look) != 0;
        (!good).then_some(if uuid { A_UUID } else { A_NUMBER })
    }

    /// What a request's text should have been, if a column of other texts than all that were shown would take it for one of
    /// them.
    fn refuses_look(self, look: Look, text: &str) -> Option<&'static str> {
        let shown = |bit| self.looks & bit != 0;
        if shown(COLLATED) {
            let cases = UUIDS.iter().filter(|(_, bit)| shown(*bit)).count();
            if shown(PLAIN) || look == Look::Plain || cases > 1 {
                return Some(A_TEXT);
            }
        }
        // Bytes, or a decimal's digits as bytes, of which no text tells any more what it was.
        if shown(PLAIN) && !shown(NOT_BASE64) {
            let number = matches!(look, Look::Integer | Look::Padded | Look::Decimal(_));
            if number || shown(FILLED_UP) && !written::is_base64(text) {
                return Some(A_FORM);
            }
        }
        let strict = self.looks & (INSTANT | PADDED_INSTANT | ADDRESS | MAC);
        let only =
            strict != 0 && self.looks & !(strict | AS_TEXT | NOT_BASE64 | COLLATED) == 0 && self.scales == 0;
        (only && (shown(PADDED_INSTANT) || look.strict_bit() & strict == 0)).then_some(A_FORM)
    }
}

fn uuid_bit(look: Look) -> u32 {
    UUIDS.iter().find(|(l, _)| *l == look).map_or(0, |(_, bit)| *bit)
}
