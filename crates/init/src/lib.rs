//! init
#![no_std]
