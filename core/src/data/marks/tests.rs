//! The marks against sets.

extern crate std;
use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::vec::Vec;

const ROWS: usize = 3;
/// The last word is not full.
const COLUMNS: usize = 70;

#[derive(Clone, Debug)]
enum Op {
    Set(usize, usize),
    Clear(usize, usize),
    ClearRow(usize),
    Take(usize),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0..ROWS, 0..COLUMNS).prop_map(|(row, column)| Op::Set(row, column)),
        2 => (0..ROWS, 0..COLUMNS).prop_map(|(row, column)| Op::Clear(row, column)),
        1 => (0..ROWS).prop_map(Op::ClearRow),
        6 => (0..ROWS).prop_map(Op::Take),
    ]
}

proptest! {
    #[test]
    fn each_row_is_a_set_that_is_taken_from_in_turn(ops in prop::collection::vec(op(), 1..400)) {
        let mut words = [0; Marks::words_for(ROWS, COLUMNS)];
        let mut marks = Marks::new(Slots::Lent(&mut words), ROWS, COLUMNS);
        let mut twins: Vec<BTreeSet<usize>> = std::vec![BTreeSet::new(); ROWS];
        let mut last = [0; ROWS];
        for op in ops {
            match op {
                Op::Set(row, column) => {
                    if twins[row].is_empty() {
                        last[row] = column;
                    }
                    prop_assert_eq!(marks.set(Ix::new(row), Ix::new(column)), twins[row].insert(column));
                }
                Op::Clear(row, column) => {
                    marks.clear(Ix::new(row), Ix::new(column));
                    twins[row].remove(&column);
                }
                Op::ClearRow(row) => {
                    marks.clear_row(Ix::new(row));
                    twins[row].clear();
                }
                Op::Take(row) => {
                    let next = twins[row].range(last[row]..).next().or(twins[row].first()).copied();
                    prop_assert_eq!(marks.take(Ix::new(row)).map(Ix::position), next);
                    if let Some(next) = next {
                        twins[row].remove(&next);
                        last[row] = next + 1;
                    }
                }
            }
            for (row, twin) in twins.iter().enumerate() {
                let row = Ix::new(row);
                marks.check(row);
                prop_assert_eq!(marks.count(row), twin.len());
                for column in 0..COLUMNS {
                    prop_assert_eq!(marks.contains(row, Ix::new(column)), twin.contains(&column));
                }
            }
        }
    }
}

#[test]
fn what_is_marked_again_and_again_keeps_nothing_waiting() {
    let mut words = [0; Marks::words_for(1, COLUMNS)];
    let mut marks = Marks::new(Slots::Lent(&mut words), 1, COLUMNS);
    let row = Ix::new(0);
    for column in 0..COLUMNS {
        marks.set(row, Ix::new(column));
    }
    for column in 0..COLUMNS {
        assert_eq!(marks.take(row), Some(Ix::new(column)));
        marks.set(row, Ix::new(0));
    }
}

#[test]
fn a_row_may_have_no_columns() {
    let mut words = [0; Marks::words_for(2, 0)];
    let mut marks = Marks::new(Slots::Lent(&mut words), 2, 0);
    assert_eq!(marks.take(Ix::new(1)), None);
}
