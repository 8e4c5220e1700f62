//! The `metalstrap` command.

fn main() -> std::process::ExitCode {
    installer::cli::run(std::env::args_os()).into()
}
