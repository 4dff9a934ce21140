//! Rights as they are written: two lists of filters.
//!
//! Invariant: an empty list gives nothing, whereas a filter without topics would stand for all.

use super::Permission;
use crate::error::{Error, Result};
use crate::limits::MAX_FILTER_TOPICS;
use crate::topic::{Filter, Pattern};

/// What somebody may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rights {
    /// What it may publish to.
    pub publish: Permission,
    /// What it may subscribe to.
    pub subscribe: Permission,
}

impl Rights {
    /// None at all.
    pub const NONE: Rights = Rights {
        publish: Permission::Nothing,
        subscribe: Permission::Nothing,
    };

    /// All there are.
    pub const ALL: Rights = Rights {
        publish: Permission::Everything,
        subscribe: Permission::Everything,
    };
}

impl Permission {
    /// The topics of a list of filters.
    ///
    /// # Errors
    /// A bad request when there are too many or one is wrong, with its place in the list.
    pub fn of_list<'a>(filters: impl ExactSizeIterator<Item = &'a str> + Clone) -> Result<Self> {
        let count = filters.len();
        if count > MAX_FILTER_TOPICS {
            return Err(too_many(count));
        }

        // One by one first, because only so is it known which one is wrong.
        for (index, filter) in filters.clone().enumerate() {
            Pattern::parse(filter).map_err(|error| error.at(&format!("[{index}]")))?;
        }
        match count {
            0 => Ok(Permission::Nothing),
            _ => Filter::parse(filters).map(Permission::Topics),
        }
    }
}

fn too_many(count: usize) -> Error {
    Error::bad_request(format!(
        "{count} filters, but at most {MAX_FILTER_TOPICS} are allowed; use wildcards"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_list_gives_nothing_and_a_wrong_one_says_where() {
        assert_eq!(
            Permission::of_list([].into_iter()).expect("a list"),
            Permission::Nothing
        );
        let doors = Permission::of_list(["door.>"].into_iter()).expect("a list");
        assert!(matches!(doors, Permission::Topics(_)));
        let wrong = Permission::of_list(["door.>", "a..b"].into_iter()).expect_err("wrong");
        assert!(wrong.to_string().starts_with("[1]: "), "{wrong}");
        let many = vec!["a"; MAX_FILTER_TOPICS + 1];
        assert!(Permission::of_list(many.into_iter()).is_err());
    }
}
