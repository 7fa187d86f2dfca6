//! The leaf on a board: a Cortex-M4 of the MPS2 family, which QEMU has too
//! (`qemu-system-arm -M mps2-an386 -nographic -kernel redlink-leaf`).
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod board;

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!(
        "redlink-leaf is a program for a microcontroller; build it with --target thumbv7em-none-eabihf"
    );
    std::process::exit(2);
}
