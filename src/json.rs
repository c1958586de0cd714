//! JSON objects that others wrote, member by member: one reader for all of them, where a derived one for each would be a sixth of the
//! Worker. An array is no object, and a member that comes twice is no member.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The members of an object, in their order.
#[derive(Debug)]
pub(crate) struct Object<'a>(Vec<(String, &'a RawValue)>);

/// Text that is not what it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

impl<'a> Object<'a> {
    /// Reads an object, and nothing but an object.
    pub(crate) fn read(text: &'a str) -> Result<Self, Malformed> {
        serde_json::from_str(text).map_err(|_| Malformed)
    }

    /// The JSON of a member.
    pub(crate) fn raw(&self, name: &str) -> Result<Option<&'a str>, Malformed> {
        let mut found = self.0.iter().filter(|(known, _)| known == name).map(|(_, value)| value.get());
        match (found.next(), found.next()) {
            (found, None) => Ok(found),
            (_, Some(_)) => Err(Malformed),
        }
    }

    /// The value of a member.
    pub(crate) fn get<T: Deserialize<'a>>(&self, name: &str) -> Result<Option<T>, Malformed> {
        self.raw(name)?.map(value).transpose()
    }

    /// The value of a member that must be there.
    pub(crate) fn need<T: Deserialize<'a>>(&self, name: &str) -> Result<T, Malformed> {
        self.get(name)?.ok_or(Malformed)
    }

    /// Whether it has no members but these.
    pub(crate) fn has_only(&self, names: &[&str]) -> bool {
        self.0.iter().all(|(known, _)| names.contains(&known.as_str()))
    }
}

/// Reads a value.
pub(crate) fn value<'a, T: Deserialize<'a>>(json: &'a str) -> Result<T, Malformed> {
    serde_json::from_str(json).map_err(|_| Malformed)
}

/// The JSON of each item of an array.
pub(crate) fn items(json: &str) -> Result<Vec<&str>, Malformed> {
    value::<Vec<&RawValue>>(json).map(|items| items.into_iter().map(RawValue::get).collect())
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Object<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Object(members))
    }
}

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Members)
    }
}
