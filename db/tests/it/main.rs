//! The repositories and the schema on every database that there is.
//!
//! SQLite is always tested. `HIMALIA_TEST_POSTGRES_URL` and `HIMALIA_TEST_MARIADB_URL` name a server and a user who may
//! make databases and accounts; each test makes its own and drops it. `HIMALIA_TEST_STOCK_PYTHON` is a Python with
//! `jupyterhub==6.1.1` (and psycopg2, pymysql) for the tests that let stock JupyterHub have the same database;
//! `HIMALIA_TEST_STOCK4_PYTHON` and `HIMALIA_TEST_STOCK5_PYTHON` have 4.1 and 5.4. What is not set is said on stderr,
//! and is a failure where `CI` is set.

#![expect(clippy::unwrap_used, reason = "a test that fails here should say so")]

mod harness;

mod backup;
mod browser_sessions;
mod connect;
mod events;
mod groups;
mod known;
mod notices;
mod oauth;
mod roles;
mod schema;
mod services;
mod shares;
mod spawners;
mod stock;
mod tokens;
mod upgrade;
mod user_list;
mod users;
