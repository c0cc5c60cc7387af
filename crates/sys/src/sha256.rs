//! SHA-256 of two messages at a time.
//!
//! ```text
//!  one message    rnds2 ──4──► rnds2 ──4──► rnds2      each waits for the one before: 4 cycles
//!  two            rnds2 ──2──► rnds2 ──2──► rnds2      the unit takes one every 2 cycles
//!                 message 0    message 1    message 0
//! ```
//! SHA-NI is bound by the latency of its instruction and not by how many the processor can take, so
//! a second message costs little beside the first: 2.3 GB/s instead of 1.4 on an EPYC of the third
//! generation. Only the compression of whole blocks is here; states, padding and processors without
//! the instructions are the callers'.

/// A block of a message.
pub type Block = [u8; 64];

/// Puts one block after the other of each message into its state, as far as both have some; gives
/// back how many. `None`, and nothing done, where the processor has no such instructions.
#[must_use]
pub fn compress_two(states: [&mut [u32; 8]; 2], blocks: [&[Block]; 2]) -> Option<usize> {
    #[cfg(target_arch = "x86_64")]
    if x86::present() {
        // SAFETY: the processor has the instructions that the function is compiled for.
        return Some(unsafe { x86::compress_two(states, blocks) });
    }
    let _ = (states, blocks);
    None
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::{
        is_x86_feature_detected,
        x86_64::{
            __m128i, _mm_add_epi32, _mm_alignr_epi8, _mm_blend_epi16, _mm_loadu_si128,
            _mm_set_epi32, _mm_set_epi64x, _mm_sha256msg1_epu32, _mm_sha256msg2_epu32,
            _mm_sha256rnds2_epu32, _mm_shuffle_epi8, _mm_shuffle_epi32, _mm_storeu_si128,
        },
    };

    use super::Block;

    /// FIPS 180-4, section 4.2.2.
    #[rustfmt::skip]
    const K: [u32; 64] = [
        0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5, 0x3956_c25b, 0x59f1_11f1, 0x923f_82a4, 0xab1c_5ed5,
        0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3, 0x72be_5d74, 0x80de_b1fe, 0x9bdc_06a7, 0xc19b_f174,
        0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc, 0x2de9_2c6f, 0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da,
        0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7, 0xc6e0_0bf3, 0xd5a7_9147, 0x06ca_6351, 0x1429_2967,
        0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc, 0x5338_0d13, 0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85,
        0xa2bf_e8a1, 0xa81a_664b, 0xc24b_8b70, 0xc76c_51a3, 0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070,
        0x19a4_c116, 0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5, 0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3,
        0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208, 0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7, 0xc671_78f2,
    ];

    pub(super) fn present() -> bool {
        is_x86_feature_detected!("sha")
            && is_x86_feature_detected!("sse4.1")
            && is_x86_feature_detected!("ssse3")
    }

    /// One message on its way: its state as the instructions want it, and the four words of four
    /// that its schedule is at.
    #[derive(Clone, Copy)]
    struct Lane {
        abef: __m128i,
        cdgh: __m128i,
        w: [__m128i; 4],
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn load(bytes: &[u8; 16]) -> __m128i {
        // SAFETY: sixteen bytes that can be read, wherever they lie.
        unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn words(words: &[u32]) -> __m128i {
        let word = |at: usize| words[at].cast_signed();
        _mm_set_epi32(word(3), word(2), word(1), word(0))
    }

    impl Lane {
        #[inline]
        #[target_feature(enable = "sha,sse4.1,ssse3")]
        fn of(state: &[u32; 8]) -> Self {
            let cdab = _mm_shuffle_epi32(words(&state[..4]), 0xb1);
            let efgh = _mm_shuffle_epi32(words(&state[4..]), 0x1b);
            let abef = _mm_alignr_epi8(cdab, efgh, 8);
            Self {
                abef,
                cdgh: _mm_blend_epi16(efgh, cdab, 0xf0),
                w: [abef; 4],
            }
        }

        #[inline]
        #[target_feature(enable = "sha,sse4.1,ssse3")]
        fn store(&self, state: &mut [u32; 8]) {
            let feba = _mm_shuffle_epi32(self.abef, 0x1b);
            let dchg = _mm_shuffle_epi32(self.cdgh, 0xb1);
            let halves = [
                _mm_blend_epi16(feba, dchg, 0xf0),
                _mm_alignr_epi8(dchg, feba, 8),
            ];
            for (half, four) in halves.into_iter().zip(state.as_chunks_mut::<4>().0) {
                // SAFETY: sixteen bytes that can be written, wherever they lie.
                unsafe { _mm_storeu_si128(four.as_mut_ptr().cast(), half) };
            }
        }

        #[inline]
        #[target_feature(enable = "sha,sse4.1,ssse3")]
        fn begin(&mut self, block: &Block) {
            let swap = _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203);
            let parts = block.as_chunks::<16>().0;
            for (w, part) in self.w.iter_mut().zip(parts) {
                *w = _mm_shuffle_epi8(load(part), swap);
            }
        }

        /// The next four words of the schedule, in place of the oldest.
        #[inline]
        #[target_feature(enable = "sha,sse4.1,ssse3")]
        fn schedule(&mut self, at: usize) {
            let w = |after: usize| self.w[(at + after) % 4];
            let sum = _mm_add_epi32(
                _mm_sha256msg1_epu32(w(0), w(1)),
                _mm_alignr_epi8(w(3), w(2), 4),
            );
            self.w[at] = _mm_sha256msg2_epu32(sum, w(3));
        }

        #[inline]
        #[target_feature(enable = "sha,sse4.1,ssse3")]
        fn four_rounds(&mut self, at: usize, k: __m128i) {
            let wk = _mm_add_epi32(self.w[at], k);
            self.cdgh = _mm_sha256rnds2_epu32(self.cdgh, self.abef, wk);
            self.abef = _mm_sha256rnds2_epu32(self.abef, self.cdgh, _mm_shuffle_epi32(wk, 0x0e));
        }
    }

    #[target_feature(enable = "sha,sse4.1,ssse3")]
    pub(super) fn compress_two(states: [&mut [u32; 8]; 2], blocks: [&[Block]; 2]) -> usize {
        let [first, second] = states;
        let (mut a, mut b) = (Lane::of(first), Lane::of(second));
        let both = blocks[0].len().min(blocks[1].len());
        for (block_a, block_b) in blocks[0].iter().zip(blocks[1]) {
            let before = (a, b);
            a.begin(block_a);
            b.begin(block_b);
            // Written out by the compiler: the lanes' words must stay in registers.
            macro_rules! sixteen_rounds {
                ($from:literal, $schedules:literal) => {
                    sixteen_rounds!(@ $from, $schedules, 0 1 2 3)
                };
                (@ $from:literal, $schedules:literal, $($at:literal)*) => {$(
                    if $schedules {
                        a.schedule($at);
                        b.schedule($at);
                    }
                    let k = words(&K[$from + 4 * $at..]);
                    a.four_rounds($at, k);
                    b.four_rounds($at, k);
                )*};
            }
            sixteen_rounds!(0, false);
            sixteen_rounds!(16, true);
            sixteen_rounds!(32, true);
            sixteen_rounds!(48, true);
            for (lane, before) in [(&mut a, before.0), (&mut b, before.1)] {
                lane.abef = _mm_add_epi32(lane.abef, before.abef);
                lane.cdgh = _mm_add_epi32(lane.cdgh, before.cdgh);
            }
        }
        a.store(first);
        b.store(second);
        both
    }
}
