//! A heap whose blocks are kept, in a process of its own: the word holds for all heaps.

use std::alloc::{GlobalAlloc, Layout};

use sys::heap::{Heap, keep};

static HEAP: Heap = Heap::new();

fn layout() -> Layout {
    Layout::new::<[u64; 4]>()
}

fn get() -> *mut u8 {
    // SAFETY: the size is not 0.
    unsafe { HEAP.alloc(layout()) }
}

fn give(block: *mut u8) {
    // SAFETY: only blocks of this layout.
    unsafe { HEAP.dealloc(block, layout()) };
}

#[test]
fn a_kept_block_is_neither_written_to_nor_handed_out() {
    let (first, second) = (get(), get());
    give(first);
    assert_eq!(get(), first, "used again before");
    // SAFETY: as long as the layout.
    unsafe { first.write_bytes(7, 32) };
    keep();
    give(first);
    // SAFETY: inside the heap's memory, which stays.
    assert!((0..32).all(|at| unsafe { first.wrapping_add(at).read() } == 7));
    let next = get();
    assert!(next != first && next != second);
    give(next);
    assert_ne!(get(), first);
}
