//! Tests of the hub from outside its modules.

mod samples;
mod templates;
