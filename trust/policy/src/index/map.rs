//! From a value to the class of rules that it satisfies.

use std::net::IpAddr;

use super::constraint::Constraint;
use super::field::{Extent, Value};
use super::ranges::Ranges;
use super::set::{Class, OverBudget, Place, Sets};
use super::tree::Tree;
use super::words::HashMap;

/// The maps of a dimension: those that its constraints need.
#[derive(Debug)]
pub(crate) enum Map {
    Numbers(Ranges),
    Addresses { v4: Ranges, v6: Ranges },
    Paths(Tree),
    Names(Tree),
    Words(HashMap<Box<str>, Class>),
    Digests(HashMap<[u8; 32], Class>),
}

/// The class of a value; of several names each has its own ([`Map::name`]).
#[derive(Clone, Copy, Debug)]
pub(crate) enum Found {
    Nothing,
    One(Class),
    Unknown,
}

impl Map {
    pub(crate) fn new(
        asked: &[(Constraint<'_>, Place)],
        sets: &mut Sets<'_>,
    ) -> Result<Self, OverBudget> {
        Ok(match asked.first() {
            Some((Constraint::Addresses(_), _)) => Self::addresses(asked, sets)?,
            Some((Constraint::Paths(_), _)) => {
                let patterns = asked.iter().flat_map(|(constraint, place)| {
                    let Constraint::Paths(patterns) = constraint else {
                        return [].iter().map(of_path(*place));
                    };
                    patterns.iter().map(of_path(*place))
                });
                Self::Paths(Tree::new(patterns, sets)?)
            }
            Some((Constraint::Names(_), _)) => {
                let patterns = asked.iter().flat_map(|(constraint, place)| {
                    let Constraint::Names(patterns) = constraint else {
                        return [].iter().map(of_name(*place));
                    };
                    patterns.iter().map(of_name(*place))
                });
                Self::Names(Tree::new(patterns, sets)?)
            }
            Some((Constraint::Words(_), _)) => {
                let mut words = HashMap::<Box<str>, Vec<Place>>::default();
                for (constraint, place) in asked {
                    if let Constraint::Words(list) = constraint {
                        for word in list {
                            words.entry((*word).into()).or_default().push(*place);
                        }
                    }
                }
                Self::Words(classed(words, sets)?)
            }
            Some((Constraint::Digests(_), _)) => {
                let mut digests = HashMap::<[u8; 32], Vec<Place>>::default();
                for (constraint, place) in asked {
                    if let Constraint::Digests(list) = constraint {
                        for digest in *list {
                            digests.entry(digest.0).or_default().push(*place);
                        }
                    }
                }
                Self::Digests(classed(digests, sets)?)
            }
            Some((Constraint::Numbers(_), _)) | None => {
                let mut ranges = Vec::new();
                for (constraint, place) in asked {
                    if let Constraint::Numbers(list) = constraint {
                        ranges.extend(list.iter().map(|(first, last)| (*first, *last, *place)));
                    }
                }
                Self::Numbers(Ranges::new(&ranges, sets)?)
            }
        })
    }

    fn addresses(
        asked: &[(Constraint<'_>, Place)],
        sets: &mut Sets<'_>,
    ) -> Result<Self, OverBudget> {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for (constraint, place) in asked {
            if let Constraint::Addresses(networks) = constraint {
                for network in *networks {
                    let (first, last) = network.bounds();
                    let family = if network.is_v4() { &mut v4 } else { &mut v6 };
                    family.push((first, last, *place));
                }
            }
        }
        Ok(Self::Addresses {
            v4: Ranges::new(&v4, sets)?,
            v6: Ranges::new(&v6, sets)?,
        })
    }

    pub(crate) fn find(&self, value: Value<'_>) -> Found {
        let one = |class: Option<Class>| class.map_or(Found::Nothing, Found::One);
        match (self, value) {
            (_, Value::Unknown) => Found::Unknown,
            (Self::Numbers(ranges), Value::Number(number)) => one(ranges.find(number)),
            (Self::Addresses { v4, .. }, Value::Address(IpAddr::V4(address))) => {
                one(v4.find(u32::from(address).into()))
            }
            (Self::Addresses { v6, .. }, Value::Address(IpAddr::V6(address))) => {
                one(v6.find(address.into()))
            }
            (Self::Paths(tree), Value::Path(path)) => {
                let segments = path.strip_prefix('/').map(|path| path.split('/'));
                one(segments.and_then(|segments| tree.find(segments)))
            }
            (Self::Words(words), Value::Word(word)) => one(words.get(word).copied()),
            (Self::Digests(digests), Value::Digest(digest)) => one(digests.get(digest).copied()),
            _ => Found::Nothing,
        }
    }

    /// The class of one of several names.
    pub(crate) fn name(&self, name: &str) -> Option<Class> {
        match self {
            Self::Names(tree) => tree.find(name.rsplit('.')),
            _ => None,
        }
    }

    /// How far from a value nothing changes.
    pub(crate) fn extent(&self, value: Value<'_>) -> Extent {
        let (ranges, number) = match (self, value) {
            (Self::Numbers(ranges), Value::Number(number)) => (ranges, number),
            (Self::Addresses { v4, .. }, Value::Address(IpAddr::V4(address))) => {
                (v4, u32::from(address).into())
            }
            (Self::Addresses { v6, .. }, Value::Address(IpAddr::V6(address))) => {
                (v6, address.into())
            }
            _ => return Extent::Exactly,
        };
        let (first, last) = ranges.around(number);
        Extent::Numbers { first, last }
    }
}

/// What an entry of a table takes, beside what it points to.
const ENTRY: usize = 64;

fn classed<K: Eq + std::hash::Hash>(
    gathered: HashMap<K, Vec<Place>>,
    sets: &mut Sets<'_>,
) -> Result<HashMap<K, Class>, OverBudget> {
    sets.take(ENTRY * gathered.len())?;
    let class = |(key, places)| Ok((key, sets.class(places)?));
    gathered.into_iter().map(class).collect()
}

type Split<'p> = std::str::Split<'p, char>;

fn of_path(place: Place) -> impl Fn(&crate::document::PathPattern) -> (Split<'_>, bool, Place) {
    move |pattern| {
        let path = pattern.path();
        // All below the root have no segment before them.
        let mut segments = path.split('/');
        segments.next();
        (segments, pattern.is_below(), place)
    }
}

fn of_name(
    place: Place,
) -> impl Fn(&crate::document::Hosts) -> (std::str::RSplit<'_, char>, bool, Place) {
    move |hosts| (hosts.name().rsplit('.'), hosts.is_below(), place)
}
