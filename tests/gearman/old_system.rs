//! The old system beside the new one.
