//! What the writers do, drawn from the seed: transactions over the rows that a writer owns.

use super::shape::{GROUPS, Rows, Subject, Table, sum};
use crate::random::Random;

/// One row's change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// The row gets this value, whether it is there or not.
    Put(Table, u32, String),
    /// The row goes.
    Delete(Table, u32),
    /// The row changes its key, and its value.
    Move(Table, u32, u32, String),
    /// Two rows change keys, and values: what the first has then, and the second.
    Swap(Table, [u32; 2], [String; 2]),
    /// All rows go.
    Truncate,
}

/// Values that are written once.
#[derive(Debug)]
pub(crate) struct Values {
    writer: u32,
    next: u64,
}

impl Values {
    pub(crate) fn of(writer: u32) -> Self {
        Self { writer, next: 0 }
    }

    pub(crate) fn next(&mut self) -> String {
        self.next += 1;
        format!("w{}-{}", self.writer, self.next)
    }
}

/// One to four changes, of different rows.
pub(crate) fn transaction(random: &mut Random, writer: u32, rows: &Rows, values: &mut Values) -> Vec<Change> {
    let mut free: Vec<(Table, u32)> = Table::ALL
        .into_iter()
        .flat_map(|table| table.ids(writer).into_iter().map(move |id| (table, id)))
        .collect();
    random.shuffle(&mut free);
    let mut changes = Vec::new();
    for _ in 0..*random.pick(&[1, 1, 1, 2, 2, 3, 4]) {
        // What the groups are made of changes seldom, so that there is something to hit in between.
        let tables: &[Table] = if random.chance(88) { &[Table::Item] } else { &[Table::Note, Table::Scrap] };
        let Some((table, id)) = take(&mut free, tables, |_| true) else { continue };
        let there = |key: &(Table, u32)| rows.contains_key(key);
        let change = match random.below(20) {
            12..15 if there(&(table, id)) => Change::Delete(table, id),
            15..18 if there(&(table, id)) => match take(&mut free, &[table], |key| !there(key)) {
                Some((_, to)) => Change::Move(table, id, to, values.next()),
                None => Change::Put(table, id, values.next()),
            },
            18.. if there(&(table, id)) => match take(&mut free, &[table], there) {
                Some((_, other)) => Change::Swap(table, [id, other], [values.next(), values.next()]),
                None => Change::Delete(table, id),
            },
            _ => Change::Put(table, id, values.next()),
        };
        changes.push(change);
    }
    changes
}

/// Swaps of all pairs of items that are there.
pub(crate) fn swaps(writer: u32, rows: &Rows, values: &mut Values) -> Vec<Change> {
    let there: Vec<u32> =
        Table::Item.ids(writer).into_iter().filter(|id| rows.contains_key(&(Table::Item, *id))).collect();
    let pairs = there.chunks_exact(2);
    pairs.map(|pair| Change::Swap(Table::Item, [pair[0], pair[1]], [values.next(), values.next()])).collect()
}

fn take(
    free: &mut Vec<(Table, u32)>,
    tables: &[Table],
    fits: impl Fn(&(Table, u32)) -> bool,
) -> Option<(Table, u32)> {
    let index = free.iter().position(|key| tables.contains(&key.0) && fits(key))?;
    Some(free.swap_remove(index))
}

/// The rows after these changes.
pub(crate) fn after(rows: &Rows, changes: &[Change]) -> Rows {
    let mut rows = rows.clone();
    for change in changes {
        match change {
            Change::Put(table, id, val) => drop(rows.insert((*table, *id), val.clone())),
            Change::Delete(table, id) => drop(rows.remove(&(*table, *id))),
            Change::Move(table, from, to, val) => {
                rows.remove(&(*table, *from));
                rows.insert((*table, *to), val.clone());
            }
            Change::Swap(table, ids, vals) => {
                for (id, val) in ids.iter().zip(vals) {
                    rows.insert((*table, *id), val.clone());
                }
            }
            Change::Truncate => rows.retain(|(table, _), _| *table != Table::Scrap),
        }
    }
    rows
}

/// What is different between two states of a writer's rows, groups included: the new values.
pub(crate) fn difference(before: &Rows, after: &Rows) -> Vec<(Subject, Option<String>)> {
    let mut keys: Vec<_> = before.keys().chain(after.keys()).copied().collect();
    keys.sort_unstable();
    keys.dedup();
    keys.retain(|key| before.get(key) != after.get(key));
    let mut groups: Vec<u32> = keys.iter().map(|(_, id)| id % GROUPS).collect();
    groups.sort_unstable();
    groups.dedup();
    groups.retain(|group| sum(before, *group) != sum(after, *group));
    let rows = keys.into_iter().map(|key| (Subject::Row(key.0, key.1), after.get(&key).cloned()));
    let sums = groups.into_iter().map(|group| (Subject::Sum(group), Some(sum(after, group))));
    rows.chain(sums).collect()
}

/// The statements that make a change of rows that are as in `rows`.
pub(crate) fn statements(rows: &Rows, change: &Change) -> Vec<String> {
    match change {
        Change::Put(table, id, val) => vec![if rows.contains_key(&(*table, *id)) {
            format!("UPDATE {} SET val = '{val}' WHERE id = {id}", table.name())
        } else {
            format!("INSERT INTO {} (id, grp, val) VALUES ({id}, {}, '{val}')", table.name(), id % GROUPS)
        }],
        Change::Delete(table, id) => vec![format!("DELETE FROM {} WHERE id = {id}", table.name())],
        Change::Move(table, from, to, val) => vec![rekey(*table, i64::from(*from), *to, val)],
        Change::Swap(table, [one, other], [first, second]) => {
            let aside = -i64::from(*one);
            vec![
                format!("UPDATE {} SET id = {aside} WHERE id = {one}", table.name()),
                rekey(*table, i64::from(*other), *one, first),
                rekey(*table, aside, *other, second),
            ]
        }
        Change::Truncate => vec![format!("TRUNCATE TABLE {}", Table::Scrap.name())],
    }
}

fn rekey(table: Table, from: i64, to: u32, val: &str) -> String {
    format!("UPDATE {} SET id = {to}, grp = {}, val = '{val}' WHERE id = {from}", table.name(), to % GROUPS)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_kind_of_change_is_drawn_and_no_value_twice() {
        let (mut random, mut values) = (Random::new(1), Values::of(0));
        let (mut rows, mut seen, mut kinds) = (Rows::new(), HashSet::new(), HashSet::new());
        for _ in 0..2000 {
            let changes = transaction(&mut random, 0, &rows, &mut values);
            let next = after(&rows, &changes);
            for (subject, value) in difference(&rows, &next) {
                // A group can become empty again; a row's values are all different.
                let again = value.is_none() || matches!(subject, Subject::Sum(_));
                assert!(again || seen.insert((subject, value)), "{subject:?}");
            }
            kinds.extend(changes.iter().map(std::mem::discriminant));
            rows = next;
        }
        assert_eq!(kinds.len(), 4);
    }

    #[test]
    fn writers_stay_among_their_rows() {
        let (mut random, mut values) = (Random::new(1), Values::of(1));
        let mut rows = Rows::new();
        for _ in 0..500 {
            rows = after(&rows, &transaction(&mut random, 1, &rows, &mut values));
        }
        assert!(rows.keys().all(|(table, id)| table.ids(1).contains(id)));
        assert!(rows.keys().all(|(table, _)| *table != Table::Scrap));
    }

    #[test]
    fn a_swap_goes_by_an_id_of_its_own() {
        let swap = Change::Swap(Table::Item, [1, 4], ["a".to_owned(), "b".to_owned()]);
        assert_eq!(
            statements(&Rows::new(), &swap),
            [
                "UPDATE shop.item SET id = -1 WHERE id = 1",
                "UPDATE shop.item SET id = 1, grp = 1, val = 'a' WHERE id = 4",
                "UPDATE shop.item SET id = 4, grp = 4, val = 'b' WHERE id = -1",
            ]
        );
    }
}
