//! The grammar and the algebra of scopes.
