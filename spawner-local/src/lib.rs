//! Singleuser servers as local processes
