//! From a path, or a host's name, to the rules whose patterns it matches.

use std::rc::Rc;

use super::set::{Class, OverBudget, Place, Sets};
use super::words::HashMap;

/// A tree of segments: of paths from the root on, of names from their end on.
#[derive(Debug)]
pub(crate) struct Tree {
    nodes: Vec<Node>,
}

#[derive(Default, Debug)]
struct Node {
    children: HashMap<Box<str>, usize>,
    /// Of what ends here.
    here: Class,
    /// Of what goes on from here, to no child.
    below: Class,
    /// Of what goes on from here with nothing in it, as a path does that ends in a slash.
    nothing: Class,
}

/// What is gathered before the classes are known.
#[derive(Default)]
struct Gathered {
    here: Vec<Place>,
    below: Vec<Place>,
}

/// What a node takes, beside its segment: itself, its place among its siblings, and what is gathered.
const NODE: usize = size_of::<Node>() + 64 + size_of::<Gathered>();

/// A node that has no classes yet.
struct Due {
    at: usize,
    /// What is meant by those above it, and its class.
    above: Rc<[Place]>,
    class: Class,
}

impl Tree {
    /// Of patterns: segments, whether all below are meant, and the rule.
    pub(crate) fn new<'p, S: Iterator<Item = &'p str>>(
        patterns: impl Iterator<Item = (S, bool, Place)>,
        sets: &mut Sets<'_>,
    ) -> Result<Self, OverBudget> {
        let mut nodes = vec![Node::default()];
        let mut gathered = vec![Gathered::default()];
        for (segments, below, place) in patterns {
            let mut at = 0;
            for segment in segments {
                let new = nodes.len();
                let Some(node) = nodes.get_mut(at) else {
                    break;
                };
                at = *node.children.entry(segment.into()).or_insert(new);
                if at == new {
                    // Known attack: a policy of nothing but slashes.
                    sets.take(NODE + segment.len())?;
                    nodes.push(Node::default());
                    gathered.push(Gathered::default());
                }
            }
            if let Some(gathered) = gathered.get_mut(at) {
                let list = if below {
                    &mut gathered.below
                } else {
                    &mut gathered.here
                };
                list.push(place);
            }
        }
        let mut tree = Self { nodes };
        tree.settle(&gathered, sets)?;
        Ok(tree)
    }

    /// Gives each node its classes, with what is meant by those above it. A node that means nothing more has theirs: it costs no more
    /// where they are many.
    fn settle(&mut self, gathered: &[Gathered], sets: &mut Sets<'_>) -> Result<(), OverBudget> {
        let mut due = vec![Due {
            at: 0,
            above: Rc::from([]),
            class: sets.class(Vec::new())?,
        }];
        while let Some(Due { at, above, class }) = due.pop() {
            let (Some(node), Some(own)) = (self.nodes.get_mut(at), gathered.get(at)) else {
                continue;
            };
            node.nothing = class;
            node.here = class;
            if !own.here.is_empty() {
                node.here = sets.class([&above, own.here.as_slice()].concat())?;
            }
            let (mut below, mut class) = (above, class);
            if !own.below.is_empty() {
                let mut with = [&below, own.below.as_slice()].concat();
                with.sort_unstable();
                with.dedup();
                sets.take(size_of_val(with.as_slice()))?;
                below = with.as_slice().into();
                class = sets.class(with)?;
            }
            node.below = class;
            due.extend(node.children.values().map(|child| Due {
                at: *child,
                above: Rc::clone(&below),
                class,
            }));
        }
        Ok(())
    }

    /// The class of what has these segments.
    pub(crate) fn find<'t>(&self, segments: impl Iterator<Item = &'t str>) -> Option<Class> {
        let mut node = self.nodes.first()?;
        let mut segments = segments.peekable();
        while let Some(segment) = segments.next() {
            match node.children.get(segment) {
                Some(child) => node = self.nodes.get(*child)?,
                None if segment.is_empty() && segments.peek().is_none() => {
                    return Some(node.nothing);
                }
                None => return Some(node.below),
            }
        }
        Some(node.here)
    }
}
