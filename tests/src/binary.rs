//! The binary under test.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The `redlink` of the profile that this test was built with, built now if it is missing or stale.
///
/// # Panics
/// It can't be built.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| match std::env::var_os("REDLINK_TEST_BIN") {
        Some(given) => {
            let given = PathBuf::from(given);
            assert!(
                given.is_file(),
                "REDLINK_TEST_BIN={}: no such file",
                given.display()
            );
            std::path::absolute(given).expect("the path of REDLINK_TEST_BIN")
        }
        None => build(),
    })
}

/// cargo knows best what is stale; with nothing to do it takes a fraction of a second.
fn build() -> PathBuf {
    // <target>/<profile>/deps/<this test>
    let this = std::env::current_exe().expect("the path of this test");
    let place = this
        .ancestors()
        .nth(2)
        .and_then(|profile| Some((profile, profile.parent()?, profile.file_name()?.to_str()?)));
    let Some((directory, target, name)) = place else {
        panic!("{} does not lie in a target directory of cargo", this.display());
    };
    let profile = if name == "debug" { "dev" } else { name };
    let done = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--package", "redlink", "--bin", "redlink"])
        .args(["--profile", profile, "--target-dir"])
        .arg(target)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output();
    let done = done.unwrap_or_else(|e| panic!("can't run {}: {e}", env!("CARGO")));
    let binary = directory.join("redlink");
    assert!(
        done.status.success() && binary.is_file(),
        "the program under test can't be built (cargo build -p redlink --bin redlink --profile {profile}):\n{}",
        String::from_utf8_lossy(&done.stderr)
    );
    binary
}
