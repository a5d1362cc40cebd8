//! End-to-end, differential and cross tests
