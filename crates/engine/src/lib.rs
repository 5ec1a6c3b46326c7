//! Use cases: capture a disk, receive a capture, restore, check.
