//! What the demo sends: files of the current directory.

use std::path::{Path, PathBuf};

/// Larger files make the show slow, empty ones dull.
const SIZE: std::ops::RangeInclusive<u64> = 1..=1 << 20;

/// Up to `most` regular files of `directory`: what one reads first, then by name. Generated ones in `spare` if there
/// are none.
pub(super) fn choose(directory: &Path, spare: &Path, most: usize) -> std::io::Result<Vec<PathBuf>> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| !entry.file_name().to_string_lossy().starts_with('.'))
        .filter(|entry| {
            entry
                .metadata()
                .is_ok_and(|found| found.is_file() && SIZE.contains(&found.len()))
        })
        .map(|entry| entry.path())
        // Others' secrets stay others' secrets.
        .filter(|path| std::fs::File::open(path).is_ok())
        .collect();
    files.sort_by_key(|path| {
        let read_first = path
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(b"README"));
        (!read_first, path.clone())
    });
    files.truncate(most);
    if files.is_empty() {
        for (at, words) in [10_usize, 1_000, 50_000].into_iter().enumerate().take(most) {
            let path = spare.join(format!("text-{}.txt", at + 1));
            std::fs::write(&path, "one word after the other\n".repeat(words / 5))?;
            files.push(path);
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_files_come_in_order_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        for (name, size) in [
            ("b.md", 5),
            ("a.md", 5),
            (".hidden", 5),
            ("empty", 0),
            ("huge", 2 << 20),
            ("README.md", 1),
        ] {
            std::fs::write(dir.path().join(name), vec![b'x'; size]).unwrap();
        }
        std::fs::create_dir(dir.path().join("d")).unwrap();
        let files = choose(dir.path(), dir.path(), 2).unwrap();
        assert_eq!(files, [dir.path().join("README.md"), dir.path().join("a.md")]);
    }

    #[test]
    fn an_empty_directory_gets_text() {
        let (empty, spare) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let files = choose(empty.path(), spare.path(), 6).unwrap();
        assert_eq!(files.len(), 3);
        let text = std::fs::read_to_string(&files[1]).unwrap();
        assert_eq!(text.split_whitespace().count(), 1_000);
        assert_eq!(std::fs::read_dir(empty.path()).unwrap().count(), 0);
    }
}
