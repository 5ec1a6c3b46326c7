//! Network Block Device: codec without I/O and an asynchronous client.
