//! Tests against real servers; `tests/emulators.sh` starts them.

mod emulated {
    mod deploy;
}
