//! Siren workers in this process, computing on a pool of threads
