//! The command `chaos`: see README.md.

use std::process::ExitCode;

#[cfg(target_os = "linux")]
fn main() -> ExitCode {
    chaos::command::main()
}

#[cfg(not(target_os = "linux"))]
fn main() -> ExitCode {
    use std::io::Write;
    let _ = writeln!(
        std::io::stderr(),
        "live chaos needs the network namespaces of Linux"
    );
    ExitCode::FAILURE
}
