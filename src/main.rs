//! The program. Exit codes: 0 ended as told, 1 could not start or broke, 2 told something wrong.

use std::process::ExitCode;

use trackyard::config::{Config, LoadError};
use trackyard::shell::run;

fn main() -> ExitCode {
    let env = |key: &str| Some(std::env::var_os(key)?.to_string_lossy().into_owned());
    let config = match Config::load(std::env::args_os(), env, |path| std::fs::read_to_string(path))
    {
        Ok(config) => config,
        Err(LoadError::Asked(text)) => {
            print!("{text}");
            return ExitCode::SUCCESS;
        }
        Err(LoadError::Wrong(text)) => {
            eprintln!("{}", prefixed(&text));
            return ExitCode::from(2);
        }
    };
    match run::run(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Usage errors bring their own prefix.
fn prefixed(text: &str) -> String {
    match text.starts_with("error: ") {
        true => text.to_owned(),
        false => format!("error: {text}"),
    }
}
