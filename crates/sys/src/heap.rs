//! The heap of a program that lives for some milliseconds: a piece of its own memory, handed out from the bottom.
//!
//! ```text
//!  0                              top                                 ROOM
//!  ├── in use ── free ── in use ───┼── never touched, or given back ───┤
//!                 └► list of its size class
//! ```
//! A general heap pays for threads (a lock and its release are two atomic operations, 40 cycles) and for memory
//! that it can return, with headers, bins and coalescing: 140 instructions for each call, a fifth of what
//! `coffer-oci run` computes. Here a block belongs to the size class that its layout says, the last block grows and
//! shrinks in place, others are kept for the next one of their class. No system call, no lock: one thread, the
//! first to ask, owns it; any other thread, any block over [`LARGE`] and all that finds no room is the libc's.

use core::cell::{Cell, UnsafeCell};
use core::mem::MaybeUninit;
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use std::alloc::{GlobalAlloc, Layout, System};

/// Less than a huge page, which would be cleared as a whole when it is first touched.
const ROOM: usize = 1 << 20;
/// Blocks are multiples of it, and aligned to it.
const STEP: usize = 16;
/// Up to here each multiple is a class, above each power of two.
const FINE: usize = 512;
/// What is larger is not ours.
const LARGE: usize = 64 << 10;
const CLASSES: usize = FINE / STEP + (LARGE / FINE).ilog2() as usize;

/// See [`keep`].
static KEPT: AtomicBool = AtomicBool::new(false);

/// From now on a [`Heap`] hands out no block of an older page, and leaves what is given back as it is: for a process that
/// is about to fork, each page that is written to is a page copied. When no room is left, libc serves, and takes back.
/// Nothing without a `Heap`.
pub fn keep() {
    KEPT.store(true, Ordering::Relaxed);
}

thread_local! {
    /// Its address tells threads apart, in one instruction.
    static HERE: Cell<u8> = const { Cell::new(0) };
}

/// See the [module](self). For `#[global_allocator]`.
// In this order: what is written at every call lies in the page of the first blocks.
#[repr(C)]
pub struct Heap {
    owner: AtomicPtr<u8>,
    state: State,
    memory: Memory,
}

/// Aligned to STEP.
#[repr(align(16))]
struct Memory(UnsafeCell<[MaybeUninit<u8>; ROOM]>);

struct State {
    top: Cell<usize>,
    /// The first free block of each class; each begins with the address of the next.
    free: [Cell<*mut u8>; CLASSES],
}

// SAFETY: memory and state are touched by one thread alone, the owner.
unsafe impl Sync for Heap {}

impl std::fmt::Debug for Heap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Heap").finish_non_exhaustive()
    }
}

impl Default for Heap {
    fn default() -> Self {
        Self::new()
    }
}

impl Heap {
    /// An empty heap: zeros, so that a static takes no room in the program's file.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            owner: AtomicPtr::new(ptr::null_mut()),
            state: State {
                top: Cell::new(0),
                free: [const { Cell::new(ptr::null_mut()) }; CLASSES],
            },
            memory: Memory(UnsafeCell::new([const { MaybeUninit::uninit() }; ROOM])),
        }
    }

    /// The state, if this thread is the owner, which it becomes if there is none.
    #[inline]
    fn state(&self) -> Option<&State> {
        let here = HERE.with(Cell::as_ptr);
        // Only this thread ever writes this thread's address, so it is seen without any order.
        let owner = self.owner.load(Ordering::Relaxed);
        (owner == here || owner.is_null() && self.claim(here)).then_some(&self.state)
    }

    #[cold]
    fn claim(&self, here: *mut u8) -> bool {
        let nobody = ptr::null_mut();
        let claimed =
            self.owner
                .compare_exchange(nobody, here, Ordering::Relaxed, Ordering::Relaxed);
        claimed.is_ok()
    }

    fn base(&self) -> *mut u8 {
        self.memory.0.get().cast()
    }

    /// Where in the memory a block is; `ROOM` or more for one of libc's.
    fn offset(&self, block: *mut u8) -> usize {
        block.addr().wrapping_sub(self.base().addr())
    }

    /// A block of a class' size.
    fn take(&self, state: &State, size: usize) -> Option<*mut u8> {
        if !KEPT.load(Ordering::Relaxed) {
            let list = &state.free[class(size)];
            let block = list.get();
            if !block.is_null() {
                // SAFETY: a free block, at least STEP bytes and aligned to it, that `give` has written.
                list.set(unsafe { block.cast::<*mut u8>().read() });
                return Some(block);
            }
        }
        let at = state.top.get();
        (size <= ROOM - at).then(|| {
            state.top.set(at + size);
            self.base().wrapping_add(at)
        })
    }

    fn give(&self, state: &State, block: *mut u8, size: usize) {
        let offset = self.offset(block);
        if offset + size == state.top.get() {
            state.top.set(offset);
            return;
        }
        if KEPT.load(Ordering::Relaxed) {
            return;
        }
        let list = &state.free[class(size)];
        // SAFETY: the block is nobody's any more, at least STEP bytes, aligned to it.
        unsafe { block.cast::<*mut u8>().write(list.get()) };
        list.set(block);
    }
}

/// The size of the class of a layout, or none if it is not for here.
#[inline]
fn size_of(layout: Layout) -> Option<usize> {
    (layout.align() <= STEP)
        .then(|| rounded(layout.size()))
        .flatten()
}

#[inline]
fn rounded(size: usize) -> Option<usize> {
    match size {
        0..=FINE => Some(size.max(1).next_multiple_of(STEP)),
        _ if size <= LARGE => Some(size.next_power_of_two()),
        _ => None,
    }
}

/// The list of a class, by its size.
#[inline]
fn class(size: usize) -> usize {
    if size <= FINE {
        return size / STEP - 1;
    }
    FINE / STEP - 1 + (size / FINE).ilog2() as usize
}

// SAFETY: each block is inside the memory, apart from all others that are in use, aligned to STEP, and of at least its
// layout's size; a layout tells the same class when the block comes back.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if let Some(size) = size_of(layout)
            && let Some(state) = self.state()
            && let Some(block) = self.take(state, size)
        {
            return block;
        }
        // SAFETY: as the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if self.offset(block) >= ROOM {
            // SAFETY: not ours, so libc's.
            return unsafe { System.dealloc(block, layout) };
        }
        // What another thread gives back is lost: none here lives long, and it has none of its own.
        if let Some(size) = size_of(layout)
            && let Some(state) = self.state()
        {
            self.give(state, block, size);
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if size_of(layout).is_none() {
            // SAFETY: as the caller's.
            return unsafe { System.alloc_zeroed(layout) };
        }
        // SAFETY: as the caller's.
        let block = unsafe { self.alloc(layout) };
        if !block.is_null() {
            // SAFETY: as long as the layout.
            unsafe { block.write_bytes(0, layout.size()) };
        }
        block
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let offset = self.offset(block);
        if offset >= ROOM {
            // SAFETY: not ours, so libc's.
            return unsafe { System.realloc(block, layout, size) };
        }
        if let (Some(old), Some(new)) = (size_of(layout), rounded(size))
            && let Some(state) = self.state()
        {
            if new == old {
                return block;
            }
            if offset + old == state.top.get() && offset + new <= ROOM {
                state.top.set(offset + new);
                return block;
            }
        }
        // SAFETY: the caller says that the size is right for this alignment.
        let layout_now = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        // SAFETY: as the caller's.
        let moved = unsafe { self.alloc(layout_now) };
        if !moved.is_null() {
            // SAFETY: two blocks, each at least so long.
            unsafe { ptr::copy_nonoverlapping(block, moved, layout.size().min(size)) };
            // SAFETY: as the caller's: the old block is given up.
            unsafe { self.dealloc(block, layout) };
        }
        moved
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(size: usize) -> Layout {
        Layout::from_size_align(size, 8).unwrap()
    }

    fn get(heap: &Heap, size: usize) -> *mut u8 {
        // SAFETY: of no layout here is the size 0.
        unsafe { heap.alloc(layout(size)) }
    }

    fn resize(heap: &Heap, block: *mut u8, from: usize, to: usize) -> *mut u8 {
        // SAFETY: the tests keep in mind how long their blocks are.
        unsafe { heap.realloc(block, layout(from), to) }
    }

    fn give(heap: &Heap, block: *mut u8, size: usize) {
        // SAFETY: as above, and a block that was given is not used again.
        unsafe { heap.dealloc(block, layout(size)) };
    }

    fn holds(block: *mut u8, size: usize, byte: u8) -> bool {
        // SAFETY: as above.
        (0..size).all(|at| unsafe { block.wrapping_add(at).read() } == byte)
    }

    fn fill(block: *mut u8, size: usize, byte: u8) {
        // SAFETY: as above.
        unsafe { block.write_bytes(byte, size) };
    }

    #[test]
    fn classes_are_told_apart_and_hold_their_sizes() {
        let mut last = None;
        for size in 1..=LARGE {
            let rounded = rounded(size).unwrap();
            assert!(rounded >= size && rounded.is_multiple_of(STEP));
            let class = class(rounded);
            assert!(class < CLASSES);
            if let Some((before, of)) = last {
                assert_eq!(before == rounded, of == class, "{size}");
            }
            last = Some((rounded, class));
        }
        assert_eq!(last.unwrap().1, CLASSES - 1);
        assert_eq!(rounded(LARGE + 1), None);
    }

    #[test]
    fn the_last_block_grows_shrinks_and_goes_in_place() {
        static HEAP: Heap = Heap::new();
        let first = get(&HEAP, 10);
        let second = get(&HEAP, 100);
        assert_eq!(resize(&HEAP, second, 100, 5000), second);
        assert_eq!(resize(&HEAP, second, 5000, 20), second);
        let third = get(&HEAP, 1);
        assert_eq!(third.addr(), second.addr() + 32);
        give(&HEAP, third, 1);
        give(&HEAP, second, 20);
        assert_eq!(get(&HEAP, 40), second);
        give(&HEAP, first, 10);
        assert_eq!(get(&HEAP, 16), first);
    }

    #[test]
    fn moved_blocks_keep_what_they_hold() {
        static HEAP: Heap = Heap::new();
        let mut size = 8;
        let mut block = get(&HEAP, size);
        fill(block, size, 7);
        while size < 4 * LARGE {
            // In its way: it can't grow in place.
            let wall = get(&HEAP, 8);
            block = resize(&HEAP, block, size, size * 2);
            assert!(holds(block, 8, 7));
            fill(block, size * 2, 7);
            give(&HEAP, wall, 8);
            size *= 2;
        }
        assert!(HEAP.offset(block) >= ROOM);
        give(&HEAP, block, size);
        for size in [16, 1024, 2 * LARGE] {
            // SAFETY: the size is not 0.
            assert!(holds(unsafe { HEAP.alloc_zeroed(layout(size)) }, size, 0));
        }
    }

    #[test]
    fn what_finds_no_room_and_other_threads_are_served_by_libc() {
        static HEAP: Heap = Heap::new();
        let blocks: Vec<_> = (0..=2 * ROOM / LARGE).map(|_| get(&HEAP, LARGE)).collect();
        assert!(!blocks.iter().any(|block| block.is_null()));
        let inside = blocks.iter().filter(|block| HEAP.offset(**block) < ROOM);
        assert_eq!(inside.count(), ROOM / LARGE);
        for block in blocks {
            give(&HEAP, block, LARGE);
        }
        let ours = get(&HEAP, 8);
        assert!(HEAP.offset(ours) < ROOM);
        fill(ours, 8, 7);
        let ours = ours.expose_provenance();
        let other = std::thread::spawn(move || {
            let theirs = get(&HEAP, 8);
            assert!(HEAP.offset(theirs) >= ROOM);
            give(&HEAP, theirs, 8);
            let moved = resize(&HEAP, ptr::with_exposed_provenance_mut(ours), 8, 100);
            assert!(HEAP.offset(moved) >= ROOM && holds(moved, 8, 7));
            give(&HEAP, moved, 100);
        });
        other.join().unwrap();
    }
}
