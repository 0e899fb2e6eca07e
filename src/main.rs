//! The program `sf2gs`: reads the arguments, runs the verb, turns an error into an exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    sf2gs::cli::main()
}
