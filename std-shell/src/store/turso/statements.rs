//! Running statements to their end.

use super::cells::Cells;
use crate::store::engine::EngineError;
use limbo::core::{Connection, LimboError, Statement, Value};
use std::num::NonZero;
use std::sync::Arc;

pub(super) fn broken(error: LimboError) -> EngineError {
    EngineError::Broken(error.to_string())
}

pub(super) fn bad(what: &str) -> EngineError {
    EngineError::Value(what.to_owned())
}

pub(super) fn prepare(connection: &Arc<Connection>, sql: &str) -> Result<Statement, EngineError> {
    connection.prepare(sql).map_err(broken)
}

pub(super) fn bind<const N: usize>(statement: &mut Statement, values: [Value; N]) -> Result<(), LimboError> {
    debug_assert_eq!(
        statement.parameters_count(),
        N,
        "a missing parameter would be NULL: {}",
        statement.get_sql()
    );
    for (at, value) in (1..).zip(values) {
        let at = NonZero::new(at).unwrap_or(NonZero::<usize>::MIN);
        statement.bind_at(at, value)?;
    }
    Ok(())
}

/// Runs a statement that gives no rows, and readies it for the next time.
pub(super) fn run<const N: usize>(statement: &mut Statement, values: [Value; N]) -> Result<(), LimboError> {
    bind(statement, values)?;
    let ran = statement.run_ignore_rows();
    let reset = statement.reset();
    statement.clear_bindings();
    ran.and(reset)
}

/// Runs a bound statement to its end, with `take` for each row, and readies it for the next time.
pub(super) fn each(
    statement: &mut Statement,
    mut take: impl FnMut(Cells<'_>) -> Result<(), EngineError>,
) -> Result<(), EngineError> {
    let mut refused = None;
    let ran = statement.run_with_row_callback(|row| {
        take(Cells(row)).map_err(|error| {
            refused = Some(error);
            LimboError::Interrupt
        })
    });
    let reset = statement.reset();
    statement.clear_bindings();
    match refused {
        Some(error) => reset.map_err(broken).and(Err(error)),
        None => ran.and(reset).map_err(broken),
    }
}

pub(super) fn first<T>(
    connection: &Arc<Connection>,
    sql: &str,
    mut take: impl FnMut(Cells<'_>) -> Result<T, EngineError>,
) -> Result<Option<T>, EngineError> {
    let mut found = None;
    each(&mut prepare(connection, sql)?, |row| {
        if found.is_none() {
            found = Some(take(row)?);
        }
        Ok(())
    })?;
    Ok(found)
}

pub(super) fn exists<const N: usize>(
    statement: &mut Statement,
    values: [Value; N],
) -> Result<bool, EngineError> {
    let mut found = false;
    bind(statement, values).map_err(broken)?;
    each(statement, |_| {
        found = true;
        Ok(())
    })?;
    Ok(found)
}
