//! Whether the file is ours, and how it gets to the version of the schema that we know.

use super::statements::{broken, first};
use crate::store::engine::EngineError;
use crate::store::schema;
use crate::store::types::OpenError;
use limbo::core::{Connection, LimboError};
use std::path::Path;
use std::sync::Arc;

/// Checks that the file is ours and of a version we know, and brings it to ours.
pub(super) fn migrate(connection: &Arc<Connection>, path: &Path) -> Result<(), OpenError> {
    let at = |error| match error {
        EngineError::Broken(detail) | EngineError::Value(detail) => OpenError::Engine {
            path: path.to_owned(),
            detail,
        },
    };
    let foreign = |detail: String| OpenError::Foreign {
        path: path.to_owned(),
        detail,
    };
    let tables = first(connection, "SELECT count(*) FROM sqlite_schema", |row| row.int(0))
        .map_err(at)?
        .unwrap_or(0);
    let version = if tables == 0 {
        let sql = format!("PRAGMA application_id = {}", schema::APPLICATION_ID);
        connection.execute(&sql).map_err(broken).map_err(at)?;
        0
    } else {
        let id = first(connection, "PRAGMA application_id", |row| row.int(0)).map_err(at)?;
        if id != Some(schema::APPLICATION_ID) {
            return Err(foreign("it is another program's database".to_owned()));
        }
        first(connection, "SELECT version FROM meta WHERE id = 1", |row| {
            row.int(0)
        })
        .map_err(at)?
        .ok_or_else(|| foreign("it has no schema version".to_owned()))?
    };
    if version > schema::VERSION {
        return Err(OpenError::Newer {
            path: path.to_owned(),
            found: version,
            known: schema::VERSION,
        });
    }
    let done = usize::try_from(version).map_err(|_| foreign(format!("its schema version is {version}")))?;
    if done < schema::STEPS.len() {
        let update = format!("UPDATE meta SET version = {} WHERE id = 1", schema::VERSION);
        let steps = schema::STEPS[done..].iter().flat_map(|step| step.iter().copied());
        let all = std::iter::once(schema::BEGIN)
            .chain(steps)
            .chain([update.as_str(), schema::COMMIT]);
        for sql in all {
            connection.execute(sql).map_err(|error| open_error(path, error))?;
        }
    }
    Ok(())
}

pub(super) fn open_error(path: &Path, error: LimboError) -> OpenError {
    let path = path.to_owned();
    match error {
        LimboError::NotADB => OpenError::Foreign {
            path,
            detail: "it is not a database".to_owned(),
        },
        other => OpenError::Engine {
            path,
            detail: other.to_string(),
        },
    }
}

/// Keys and payloads are in there. By name, not by opening the file.
pub(super) fn private(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
}
