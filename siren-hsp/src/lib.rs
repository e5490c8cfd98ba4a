//! Hybrid Synchronous Parallel training: the worker's loop, the trainer's loop, and the stores.
