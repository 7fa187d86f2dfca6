//! Hands the linker the memory of the board.

#[allow(clippy::disallowed_methods, reason = "this is how cargo tells a build script")]
fn main() {
    println!("cargo::rerun-if-changed=leaf.ld");
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "none") {
        let folder = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
        println!("cargo::rustc-link-arg-bins=-T{folder}/leaf.ld");
    }
}
