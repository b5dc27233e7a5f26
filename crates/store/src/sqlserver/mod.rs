//! The SQL Server backend.
