//! What makes a run replay beyond seeding `fastrand`: `str0m` takes the order of streams that have
//! something to send from a `HashMap`, whose keys the standard library asks of the system once a
//! thread. So a run has a thread of its own, on which the system's chance is fixed.

use super::system::FIXED;

/// Runs something on a thread whose chance is fixed; its panic goes on here.
pub fn replayable<R: Send>(run: impl FnOnce() -> R + Send) -> R {
    let result = std::thread::scope(|scope| {
        let body = || {
            FIXED.set(true);
            run()
        };
        let thread = std::thread::Builder::new().name("run".into());
        thread.spawn_scoped(scope, body).expect("a thread").join()
    });
    result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
