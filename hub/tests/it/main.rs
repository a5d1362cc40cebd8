//! Tests of the hub from outside its modules.

mod frontend;
mod samples;
mod templates;
