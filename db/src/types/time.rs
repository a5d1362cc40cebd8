//! Timestamps: UTC for us, without time zone in the database.

use std::fmt;
use std::ops::Deref;

use chrono::{DateTime, NaiveDateTime, Utc};
use sea_orm::sea_query::{ArrayType, ColumnType, Nullable, ValueType, ValueTypeErr};
use sea_orm::{ColIdx, QueryResult, TryGetError, TryGetable, Value};

/// A moment in UTC as JupyterHub stores it: naive, at most microseconds.
///
/// `timestamp without time zone` on PostgreSQL, `DATETIME` (whole seconds) on MySQL and MariaDB, and on SQLite the
/// text `YYYY-MM-DD HH:MM:SS.ffffff` with always six digits, since SQLAlchemy writes and compares it so.
/// Dereferences to [`DateTime<Utc>`] and converts from and into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(DateTime<Utc>);

impl Timestamp {
    /// The moment as chrono knows it.
    pub fn utc(self) -> DateTime<Utc> {
        self.0
    }
}

/// The text that SQLAlchemy writes into a SQLite `DATETIME` column.
pub(crate) fn sqlite_text(moment: &NaiveDateTime) -> String {
    moment.format("%Y-%m-%d %H:%M:%S.%6f").to_string()
}

impl From<DateTime<Utc>> for Timestamp {
    fn from(moment: DateTime<Utc>) -> Self {
        Self(moment)
    }
}

impl From<Timestamp> for DateTime<Utc> {
    fn from(moment: Timestamp) -> Self {
        moment.0
    }
}

impl Deref for Timestamp {
    type Target = DateTime<Utc>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<Timestamp> for Value {
    fn from(moment: Timestamp) -> Self {
        Self::ChronoDateTime(Some(moment.0.naive_utc()))
    }
}

impl TryGetable for Timestamp {
    fn try_get_by<I: ColIdx>(row: &QueryResult, index: I) -> Result<Self, TryGetError> {
        NaiveDateTime::try_get_by(row, index).map(|moment| Self(moment.and_utc()))
    }
}

impl ValueType for Timestamp {
    fn try_from(value: Value) -> Result<Self, ValueTypeErr> {
        match value {
            Value::ChronoDateTime(Some(moment)) => Ok(Self(moment.and_utc())),
            _ => Err(ValueTypeErr),
        }
    }

    fn type_name() -> String {
        "Timestamp".to_owned()
    }

    fn array_type() -> ArrayType {
        ArrayType::ChronoDateTime
    }

    fn column_type() -> ColumnType {
        ColumnType::DateTime
    }
}

impl Nullable for Timestamp {
    fn null() -> Value {
        Value::ChronoDateTime(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sqlite_text_has_six_digits_whatever_the_fraction() {
        for (given, stored) in [
            ("2026-01-02T03:04:05Z", "2026-01-02 03:04:05.000000"),
            ("2026-01-02T03:04:05.5Z", "2026-01-02 03:04:05.500000"),
            ("2026-01-02T03:04:05.000123Z", "2026-01-02 03:04:05.000123"),
            ("2026-01-02T03:04:05.123456789Z", "2026-01-02 03:04:05.123456"),
        ] {
            let moment: DateTime<Utc> = given.parse().unwrap();
            assert_eq!(sqlite_text(&moment.naive_utc()), stored);
        }
    }
}
