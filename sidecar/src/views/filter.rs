//! Which items a view has.

use std::cmp::Ordering;

use freshet_crds::{
    binding::{ConditionSpec, Test},
    json_pointer::JsonPointer,
};
use jiff::SignedDuration;

use super::{
    decimal::Decimal,
    ordering::{Scalar, time},
    pointer::find,
};

/// What must hold of an item, all of it.
#[derive(Debug)]
pub struct Filter(Box<[(JsonPointer, Box<[Check]>)]>);

#[derive(Debug)]
enum Check {
    Exists(bool),
    Is(Operand),
    IsNot(Operand),
    AtLeast(Operand),
    AtMost(Operand),
}

/// What a value is compared with, in each way that it may have to be read.
#[derive(Debug)]
struct Operand {
    text: Box<str>,
    number: Option<Decimal>,
    time: Option<SignedDuration>,
}

// === impl Filter ===

impl Filter {
    /// What a binding's conditions say.
    #[must_use]
    pub fn new(conditions: &[ConditionSpec]) -> Self {
        let check = |test: &Test| match test {
            Test::Exists(exists) => Check::Exists(*exists),
            Test::Equals(text) => Check::Is(Operand::new(text)),
            Test::NotEquals(text) => Check::IsNot(Operand::new(text)),
            Test::AtLeast(text) => Check::AtLeast(Operand::new(text)),
            Test::AtMost(text) => Check::AtMost(Operand::new(text)),
        };
        let conditions = conditions
            .iter()
            .map(|condition| (condition.pointer.clone(), condition.tests.iter().map(check).collect()));
        Self(conditions.collect())
    }

    /// Whether an item is one of the view's.
    #[must_use]
    pub fn takes(&self, item: &str) -> bool {
        self.0.iter().all(|(pointer, checks)| {
            let found = find(item, pointer.steps()).filter(|value| value.get() != "null");
            let scalar = found.and_then(Scalar::read);
            checks.iter().all(|check| check.holds(found.is_some(), scalar.as_ref()))
        })
    }
}

// === impl Check ===

impl Check {
    fn holds(&self, is_there: bool, value: Option<&Scalar>) -> bool {
        let order = |operand: &Operand| value.and_then(|value| operand.order_of(value));
        match self {
            Self::Exists(exists) => is_there == *exists,
            Self::Is(operand) => value.is_some_and(|value| operand.is(value)),
            Self::IsNot(operand) => !value.is_some_and(|value| operand.is(value)),
            Self::AtLeast(operand) => order(operand).is_some_and(Ordering::is_ge),
            Self::AtMost(operand) => order(operand).is_some_and(Ordering::is_le),
        }
    }
}

// === impl Operand ===

impl Operand {
    fn new(text: &str) -> Self {
        Self { text: text.into(), number: Decimal::read(text), time: time(text) }
    }

    /// How a value is to this, which is read as the value is; `None` where it can't be, or has no order.
    fn order_of(&self, value: &Scalar) -> Option<Ordering> {
        match value {
            Scalar::Bool(_) => None,
            Scalar::Number(number) => Some(number.cmp(self.number.as_ref()?)),
            Scalar::Text(text) => match (self.time, time(text)) {
                (Some(at), Some(time)) => Some(time.cmp(&at)),
                _ => Some(text.cmp(&self.text)),
            },
        }
    }

    fn is(&self, value: &Scalar) -> bool {
        match value {
            Scalar::Bool(value) => *self.text == *if *value { "true" } else { "false" },
            value => self.order_of(value) == Some(Ordering::Equal),
        }
    }
}

#[cfg(test)]
mod tests {
    use freshet_crds::binding::{ConditionSpec, Test};

    use super::Filter;

    fn takes(pointer: &str, tests: &[Test], item: &str) -> bool {
        let condition = ConditionSpec { pointer: pointer.parse().unwrap(), tests: tests.into() };
        Filter::new(&[condition]).takes(item)
    }

    #[test]
    fn what_a_value_is_compared_with_is_read_as_the_value_is() {
        let is = |operand: &str, value: &str| {
            takes("/a", &[Test::Equals(operand.into())], &format!("{{\"a\":{value}}}"))
        };
        let is_not = |operand: &str, value: &str| {
            takes("/a", &[Test::NotEquals(operand.into())], &format!("{{\"a\":{value}}}"))
        };
        for (operand, value, equal) in [
            ("true", "true", true),
            ("true", "false", false),
            ("true", "\"true\"", true),
            ("1", "true", false),
            ("1.0", "1", true),
            ("1", "10e-1", true),
            ("one", "1", false),
            ("1", "\"1\"", true),
            ("1.0", "\"1\"", false),
            ("", "\"\"", true),
            ("2024-01-01T00:00:00Z", "\"2024-01-01T01:00:00+01:00\"", true),
            ("null", "null", false),
            ("[]", "[]", false),
        ] {
            assert_eq!(is(operand, value), equal, "{operand} {value}");
            assert_eq!(is_not(operand, value), !equal, "{operand} {value}");
        }
        assert!(takes("/b", &[Test::NotEquals("x".into())], "{}"));
        assert!(!takes("/b", &[Test::Equals("x".into())], "{}"));
    }

    #[test]
    fn bounds_are_of_numbers_times_and_texts_and_of_nothing_else() {
        let within = |value: &str, least: &str, most: &str| {
            takes(
                "/a",
                &[Test::AtLeast(least.into()), Test::AtMost(most.into())],
                &format!("{{\"a\":{value}}}"),
            )
        };
        assert!(within("5", "5", "5.0") && within("-1", "-2", "0") && !within("5", "5.01", "9"));
        assert!(within("\"b\"", "a", "c") && !within("\"d\"", "a", "c"));
        let (least, most) = ("2024-01-01T00:00:00Z", "2024-12-31T23:59:59Z");
        assert!(within("\"2024-12-31T23:30:00+01:00\"", least, most));
        assert!(!within("\"2024-12-31T23:30:00-01:00\"", least, most));
        for value in ["true", "null", "{}", "\"x\""] {
            assert!(!within(value, "0", "9"), "{value}");
        }
        assert!(!within("5", "a", "z"), "what isn't a number bounds none");
    }

    #[test]
    fn null_is_as_good_as_nothing_and_an_object_is_something() {
        for (item, exists) in
            [("{}", false), ("{\"a\":null}", false), ("{\"a\":{}}", true), ("{\"a\":0}", true), ("[]", false)]
        {
            assert_eq!(takes("/a", &[Test::Exists(true)], item), exists, "{item}");
            assert_eq!(takes("/a", &[Test::Exists(false)], item), !exists, "{item}");
        }
        assert!(takes("", &[Test::AtLeast("3".into())], "4"));
        assert!(Filter::new(&[]).takes("{}"));
    }
}
