//! Where the simulator stands in for the system, and all that is `unsafe` in it.
//!
//! The allocator counts the live bytes of each thread, and whose they are: a run has a thread of
//! its own, and what is allocated within the server's turns is the server's, whoever gives it back.
//! The C library's chance is fixed for runs that must replay ([`super::replay`]).

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// Whose bytes they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// The simulator and its clients.
    World,
    Server,
}

thread_local! {
    static OWNER: Cell<Owner> = const { Cell::new(Owner::World) };
    static LIVE: [Cell<i64>; 2] = const { [Cell::new(0), Cell::new(0)] };
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

fn count(owner: u8, bytes: i64) {
    // The thread may be ending; then nobody asks any more.
    let _ = LIVE.try_with(|live| {
        let live = &live[usize::from(owner)];
        live.set(live.get() + bytes);
    });
}

fn count_allocation() {
    let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
}

/// How often this thread has allocated, or made a block larger or smaller.
#[allow(dead_code, reason = "the simulator itself does not ask")]
pub fn allocations() -> u64 {
    ALLOCATIONS.with(Cell::get)
}

/// What stands before each block, of which the first byte says whose it is.
fn prefix(layout: Layout) -> usize {
    layout.align().max(16)
}

/// The block with what stands before it.
fn whole(layout: Layout) -> Layout {
    let size = layout.size().checked_add(prefix(layout)).expect("blocks are smaller");
    Layout::from_size_align(size, layout.align()).expect("blocks are smaller")
}

// SAFETY: blocks come from the system's allocator, longer by a prefix that keeps the alignment.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise; the size is above zero.
        let block = unsafe { System.alloc(whole(layout)) };
        if block.is_null() {
            return block;
        }
        let owner = OWNER.try_with(Cell::get).unwrap_or(Owner::World) as u8;
        count(owner, layout.size() as i64);
        count_allocation();
        // SAFETY: the prefix is within the block.
        unsafe {
            block.write(owner);
            block.add(prefix(layout))
        }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: `alloc` or `realloc` gave the pointer, for this layout.
        unsafe {
            let block = pointer.sub(prefix(layout));
            count(block.read(), -(layout.size() as i64));
            System.dealloc(block, whole(layout));
        }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let prefix = prefix(layout);
        // SAFETY: as in `dealloc`; the prefix moves with the block.
        unsafe {
            let block = System.realloc(pointer.sub(prefix), whole(layout), size + prefix);
            if block.is_null() {
                return block;
            }
            count(block.read(), size as i64 - layout.size() as i64);
            count_allocation();
            block.add(prefix)
        }
    }
}

/// What is allocated meanwhile is the server's.
pub fn of_server<R>(work: impl FnOnce() -> R) -> R {
    struct Back(Owner);
    impl Drop for Back {
        fn drop(&mut self) {
            OWNER.set(self.0);
        }
    }
    let _back = Back(OWNER.replace(Owner::Server));
    work()
}

/// Bytes of that owner's that this thread has allocated and not given back.
pub fn live_bytes(owner: Owner) -> i64 {
    LIVE.with(|live| live[owner as usize].get())
}

thread_local! {
    /// What the system calls chance is the same always.
    pub static FIXED: Cell<bool> = const { Cell::new(false) };
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
