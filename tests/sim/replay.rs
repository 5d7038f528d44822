//! What makes a run replay beyond seeding `fastrand`: `str0m` takes the order of streams that have
//! something to send from a `HashMap`, whose keys the standard library asks of the system once a
//! thread. So a run has a thread of its own, on which the system's chance is fixed.

use std::cell::Cell;

thread_local! {
    static FIXED: Cell<bool> = const { Cell::new(false) };
}

/// Stands in for the C library's function (`getrandom(2)`).
///
/// # Safety
///
/// As the original: `buffer` is valid for `length` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn getrandom(buffer: *mut u8, length: usize, flags: u32) -> isize {
    if FIXED.get() {
        // SAFETY: the caller gave a buffer of that length.
        unsafe { std::ptr::write_bytes(buffer, 0x5a, length) };
        return length as isize;
    }
    // SAFETY: the same arguments, passed on to the kernel.
    unsafe { libc::syscall(libc::SYS_getrandom, buffer, length, flags) as isize }
}

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
