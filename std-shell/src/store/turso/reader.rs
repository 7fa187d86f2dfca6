//! A connection that only reads: an operator's queries, and copies of the whole.

use super::statements::{broken, run};
use crate::store::engine::EngineError;
use crate::store::query::{
    Cell, QUERY_BYTES, QUERY_ROWS, QueryAnswer, QueryError, Watch, check, explained, skip,
};
use crate::store::readers::{Reader, Readers};
use limbo::core::{Connection, LimboError, Numeric, Row, Value};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// Instructions between two looks at the watch.
const LOOK_EVERY: u64 = 5_000;

/// Tables and columns that hold secrets: with the first grants can be forged, the second are some.
const SECRET_TABLES: &[&str] = &["node"];
const SECRET_COLUMNS: &[(&str, &str)] = &[("reply", "token")];
/// Functions that reach out of the database, or make values as large as one likes in one step.
const NO_FUNCTIONS: &[&str] = &["load_extension", "zeroblob", "randomblob"];
/// Instructions that no query needs: other tables than the store's, and writing.
const NO_INSTRUCTIONS: &[&str] = &[
    "VOpen",
    "VCreate",
    "VDestroy",
    "VUpdate",
    "IndexMethodQuery",
    "OpenWrite",
    "CreateBtree",
    "SetCookie",
    "AutoCommit",
    "Savepoint",
    "Program",
    "Checkpoint",
    "JournalMode",
    "Vacuum",
    "VacuumInto",
    "ParseSchema",
];

pub(super) struct TursoReader {
    connection: Arc<Connection>,
}

impl TursoReader {
    pub(super) fn new(connection: Arc<Connection>) -> Result<Self, LimboError> {
        connection.execute("PRAGMA temp_store = MEMORY")?;
        connection.set_load_extension_enabled(false);
        Ok(Self { connection })
    }
}

impl Reader for TursoReader {
    fn query(&self, sql: &str, watch: &Watch) -> Result<QueryAnswer, QueryError> {
        check(sql)?;
        let began = Instant::now();
        self.connection.set_query_only(true);
        let look = watch.share();
        let over = move || look.over().is_some();
        self.connection
            .set_progress_handler(LOOK_EVERY, Some(Box::new(over)));
        let result = self.rows(sql, watch, began);
        // It holds the way to whoever waits.
        self.connection.set_progress_handler(0, None);
        result
    }

    fn copy_to(&self, file: &Path, readers: Arc<Readers>) -> Result<(), EngineError> {
        let text = file
            .to_str()
            .ok_or_else(|| EngineError::Value(format!("{} is not valid UTF-8", file.display())))?;
        let over = move || readers.is_over();
        self.connection
            .set_progress_handler(LOOK_EVERY, Some(Box::new(over)));
        let sql = format!("VACUUM INTO '{}'", text.replace('\'', "''"));
        let mut statement = self.connection.prepare(sql).map_err(broken)?;
        run(&mut statement, []).map_err(broken)
    }
}

impl TursoReader {
    fn rows(&self, sql: &str, watch: &Watch, began: Instant) -> Result<QueryAnswer, QueryError> {
        let bad = |error: LimboError| match watch.over() {
            Some(why) => QueryError::Stopped(why),
            None => QueryError::Bad(format!("the query can't be run: {error}")),
        };
        let mut statement = self.connection.prepare(sql).map_err(bad)?;
        let behind = sql.get(statement.tail_offset()..).unwrap_or_default();
        if !skip(behind.trim_start_matches([';', ' ', '\n', '\t', '\r'])).is_empty() {
            return Err(QueryError::Bad(
                "one statement at a time; nothing was run".to_owned(),
            ));
        }
        if statement.parameters_count() > 0 {
            return Err(QueryError::Bad(
                "the query has parameters, which have no values here".to_owned(),
            ));
        }
        self.permit(sql)?;
        let mut answer = QueryAnswer {
            columns: (0..statement.num_columns())
                .map(|at| statement.get_column_name(at).into_owned())
                .collect(),
            rows: Vec::new(),
            truncated: false,
            micros: 0,
        };
        let mut bytes = 0;
        let ran = statement.run_with_row_callback(|row| {
            if answer.rows.len() == QUERY_ROWS || bytes > QUERY_BYTES {
                answer.truncated = true;
                return Err(LimboError::Interrupt);
            }
            let cells: Vec<Cell> = row.get_values().map(cell).collect();
            bytes += cells.iter().map(size).sum::<usize>();
            answer.rows.push(cells);
            Ok(())
        });
        let reset = statement.reset();
        if !answer.truncated {
            ran.and(reset).map_err(bad)?;
        }
        answer.micros = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        Ok(answer)
    }
}

/// One instruction of a statement, as the engine explains it.
struct Instruction {
    name: String,
    p1: i64,
    p2: i64,
    p3: i64,
    text: String,
}

impl TursoReader {
    /// By what the engine is about to do, not by the text: nothing that holds a secret, no table that is none of the
    /// store's, nothing that writes.
    fn permit(&self, sql: &str) -> Result<(), QueryError> {
        let mut roots = HashMap::new();
        self.each(
            "SELECT rootpage, tbl_name FROM sqlite_schema WHERE rootpage > 0",
            |row| {
                if let (Some(root), Value::Text(table)) = (whole(row.get_value(0)), row.get_value(1)) {
                    roots.insert(root, table.as_str().to_owned());
                }
            },
        )?;
        // The table of tables itself is at the front.
        roots.insert(1, "sqlite_schema".to_owned());
        let mut closed = Vec::new();
        for (table, column) in SECRET_COLUMNS {
            let own = self.explain(&format!("SELECT {column} FROM {table}"))?;
            let at = own.iter().find(|i| i.name == "Column").map(|i| i.p2);
            closed.push((*table, *column, at));
        }
        let refuse = |what: String| Err(QueryError::Bad(what));
        let mut cursors: HashMap<i64, &str> = HashMap::new();
        for i in self.explain(sql)? {
            let reads = |from: i64, count: i64| {
                let table = cursors.get(&i.p1)?;
                let found = closed.iter().find(|(name, _, at)| {
                    name == table && at.is_none_or(|at| (from..from.saturating_add(count)).contains(&at))
                });
                found.map(|(_, column, _)| *column)
            };
            let secret = match i.name.as_str() {
                "OpenRead" => {
                    let Some(table) = roots.get(&i.p2).filter(|_| i.p3 == 0) else {
                        return refuse("the query reads what is no table of the store".to_owned());
                    };
                    if SECRET_TABLES.contains(&table.as_str()) {
                        return refuse(format!(
                            "the table `{table}` holds the node's secrets and can't be asked"
                        ));
                    }
                    cursors.insert(i.p1, table);
                    None
                }
                "Column" => reads(i.p2, 1),
                // How many are read is not told; those before it are not.
                "ColumnRange" => reads(i.p2, i64::MAX),
                "RowData" => reads(0, i64::MAX),
                "Function" => {
                    let name = i.text.to_ascii_lowercase();
                    if NO_FUNCTIONS.contains(&name.as_str()) {
                        return refuse(format!("the function `{name}` can't be used here"));
                    }
                    None
                }
                name if NO_INSTRUCTIONS.contains(&name) => {
                    return refuse(
                        "the query does more than read tables of the store; nothing was run".to_owned(),
                    );
                }
                _ => None,
            };
            if let Some(column) = secret {
                return refuse(format!(
                    "the column `{column}` holds secrets; name only the columns that you want"
                ));
            }
        }
        Ok(())
    }

    /// The instructions of one that may be an EXPLAIN itself.
    fn explain(&self, sql: &str) -> Result<Vec<Instruction>, QueryError> {
        let mut found = Vec::new();
        self.each(&format!("EXPLAIN {}", explained(sql)), |row| {
            let text = |at| match row.get_value(at) {
                Value::Text(text) => text.as_str().to_owned(),
                _ => String::new(),
            };
            let number = |at| whole(row.get_value(at)).unwrap_or(-1);
            found.push(Instruction {
                name: text(1),
                p1: number(2),
                p2: number(3),
                p3: number(4),
                text: text(5),
            });
        })?;
        Ok(found)
    }

    fn each(&self, sql: &str, mut take: impl FnMut(&Row)) -> Result<(), QueryError> {
        let bad = |error: LimboError| QueryError::Bad(format!("the query can't be run: {error}"));
        let mut statement = self.connection.prepare(sql).map_err(bad)?;
        let ran = statement.run_with_row_callback(|row| {
            take(row);
            Ok(())
        });
        ran.and(statement.reset()).map_err(bad)
    }
}

fn whole(value: &Value) -> Option<i64> {
    match value {
        Value::Numeric(Numeric::Integer(value)) => Some(*value),
        _ => None,
    }
}

fn cell(value: &Value) -> Cell {
    match value {
        Value::Null => Cell::Null,
        Value::Numeric(Numeric::Integer(value)) => Cell::Integer(*value),
        Value::Numeric(Numeric::Float(value)) => Cell::Real(f64::from(*value)),
        Value::Text(text) => Cell::Text(text.as_str().to_owned()),
        Value::Blob(_) => Cell::Blob(value.to_blob().unwrap_or_default().to_vec()),
    }
}

/// About what it takes in an answer.
fn size(cell: &Cell) -> usize {
    match cell {
        Cell::Null | Cell::Integer(_) | Cell::Real(_) => 8,
        Cell::Text(text) => text.len(),
        // As base64.
        Cell::Blob(bytes) => bytes.len() * 4 / 3,
    }
}
