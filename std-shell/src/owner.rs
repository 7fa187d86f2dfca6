//! Whose something is, and who asks for it.

use std::fmt;
use std::sync::Arc;

/// Whose a message or a consumer is (promise P12).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Owner {
    /// Whoever has the administrator's token.
    #[default]
    Administrator,
    /// A program, by the name in its token or certificate. All tokens of one name are one program, so that a token can
    /// be replaced without losing what is under way.
    Program(Arc<str>),
}

impl Owner {
    /// The program's name; none for the administrator.
    pub fn program(&self) -> Option<&Arc<str>> {
        match self {
            Self::Administrator => None,
            Self::Program(name) => Some(name),
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Administrator => f.write_str("the administrator"),
            Self::Program(name) => write!(f, "the program `{name}`"),
        }
    }
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Who {
    /// What it makes is this one's.
    pub owner: Owner,
    /// It may also see and change what is others'.
    pub administers: bool,
}

impl Who {
    /// Whoever has the administrator's token.
    pub const ADMINISTRATOR: Self = Self {
        owner: Owner::Administrator,
        administers: true,
    };

    /// Whether it may see and change what is this one's.
    pub fn may_touch(&self, owner: &Owner) -> bool {
        self.administers || self.owner == *owner
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_touches_its_own_and_an_administrator_all() {
        let program = |name: &str, administers| Who {
            owner: Owner::Program(name.into()),
            administers,
        };
        let (a, b) = (program("a", false), program("b", false));
        assert!(a.may_touch(&a.owner) && !a.may_touch(&b.owner));
        assert!(!a.may_touch(&Owner::Administrator));
        // A program may call itself what it likes: it is no administrator by that.
        assert!(!program("administrator", false).may_touch(&Owner::Administrator));
        for all in [Who::ADMINISTRATOR, program("c", true)] {
            assert!(all.may_touch(&a.owner) && all.may_touch(&Owner::Administrator));
        }
    }
}
