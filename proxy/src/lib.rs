//! A reverse proxy for notebooks, compatible with configurable-http-proxy
