//! JupyterHub's database schema and the repositories over it
