//! From a value to the class of rules that it satisfies.

use std::collections::HashMap;
use std::net::IpAddr;

use super::constraint::Constraint;
use super::field::{Extent, Value};
use super::ranges::Ranges;
use super::set::{Class, OverBudget, Place, Sets};
use super::tree::Tree;
use crate::request::MAX_NAMES;

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

/// The classes of a value.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Found {
    Nothing,
    One(Class),
    Several([Class; MAX_NAMES], usize),
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
                let mut words = HashMap::<Box<str>, Vec<Place>>::new();
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
                let mut digests = HashMap::<[u8; 32], Vec<Place>>::new();
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
            (Self::Names(tree), Value::Names(names)) => {
                let mut several = [0; MAX_NAMES];
                if names.len() > several.len() {
                    return Found::Unknown;
                }
                let found = names.iter().filter_map(|name| tree.find(name.rsplit('.')));
                let mut count = 0;
                for (place, class) in several.iter_mut().zip(found) {
                    *place = class;
                    count += 1;
                }
                Found::Several(several, count)
            }
            (Self::Words(words), Value::Word(word)) => one(words.get(word).copied()),
            (Self::Digests(digests), Value::Digest(digest)) => one(digests.get(digest).copied()),
            _ => Found::Nothing,
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

    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Numbers(ranges) => ranges.bytes(),
            Self::Addresses { v4, v6 } => v4.bytes() + v6.bytes(),
            Self::Paths(tree) | Self::Names(tree) => tree.bytes(),
            Self::Words(words) => 64 * words.len(),
            Self::Digests(digests) => 64 * digests.len(),
        }
    }
}

fn classed<K: Eq + std::hash::Hash>(
    gathered: HashMap<K, Vec<Place>>,
    sets: &mut Sets<'_>,
) -> Result<HashMap<K, Class>, OverBudget> {
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
