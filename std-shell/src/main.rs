//! The `redlink` command.

fn main() -> std::process::ExitCode {
    redlink::cli::main()
}
