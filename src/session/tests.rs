//! Messages in, messages out, and what is written of them.
