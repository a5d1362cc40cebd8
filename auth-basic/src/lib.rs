//! Dummy, shared-password and null authenticators
