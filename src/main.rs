//! The program. Exit codes: 0 ended as told, 1 could not start or broke, 2 told something wrong.

use std::process::ExitCode;

use trackyard::config::{LoadError, Task};
use trackyard::shell::{bench, run};

fn main() -> ExitCode {
    let env = |key: &str| Some(std::env::var_os(key)?.to_string_lossy().into_owned());
    let task = match Task::load(std::env::args_os(), env, |path| std::fs::read_to_string(path)) {
        Ok(task) => task,
        Err(LoadError::Asked(text)) => {
            print!("{text}");
            return ExitCode::SUCCESS;
        }
        Err(LoadError::Wrong(text)) => {
            eprintln!("{}", prefixed(&text));
            return ExitCode::from(2);
        }
    };
    let done = match task {
        Task::Serve(config) => run::run(config).map_err(|e| e.to_string()),
        Task::Bench(config) => bench::run(&config).map_err(|e| e.to_string()),
        Task::BenchFloor => bench::floor::run().map_err(|e| e.to_string()),
    };
    match done {
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
