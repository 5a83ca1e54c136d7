//! The set of policies that rules, and its compiled forms: one for each choice of policies by which some guest is selected, however many
//! guests it is of.
//!
//! Known attack: policies that each guest's limit allows have the machine run out of memory, or stand still, by the number of guests. What all
//! forms take together is limited as one guest's is.

use std::collections::BTreeMap;
use std::sync::Arc;

use bartizan_policy::{Compiled, Guest, Policy, Room, TooLarge};

/// What all forms may take together: this machine's memory is as much as it is.
const ROOM: Room = Room::ALL;

/// Policies, by their places in the set.
type Choice = Vec<usize>;

/// The policies that rule, compiled for whoever they select.
#[derive(Debug)]
pub(super) struct Forms {
    policies: Arc<[Policy]>,
    /// What there is for all of them.
    room: Room,
    forms: BTreeMap<Choice, Arc<Form>>,
}

/// The policies of a choice, ready to decide; where they cannot be held everything is denied.
#[derive(Debug)]
pub(super) struct Form {
    compiled: Result<Compiled, TooLarge>,
    /// What there was for it.
    had: Room,
    /// What it has taken of that.
    took: Room,
}

impl Forms {
    /// Of a set of policies, for nobody yet.
    pub(super) fn new(policies: impl Into<Arc<[Policy]>>) -> Self {
        Self::within(policies, ROOM)
    }

    pub(super) fn within(policies: impl Into<Arc<[Policy]>>, room: Room) -> Self {
        Self {
            policies: policies.into(),
            room,
            forms: BTreeMap::new(),
        }
    }

    pub(super) fn policies(&self) -> &[Policy] {
        &self.policies
    }

    /// The places of the policies that select a guest.
    pub(super) fn choice(&self, guest: &Guest) -> Choice {
        let policies = self.policies.iter().enumerate();
        let select = policies.filter(|(_, policy)| policy.select.includes(guest));
        select.map(|(place, _)| place).collect()
    }

    /// Those that select a guest, compiled.
    pub(super) fn of(&mut self, guest: &Guest) -> Arc<Form> {
        let choice = self.choice(guest);
        if let Some(form) = self.forms.get(&choice) {
            return Arc::clone(form);
        }
        self.forget_unused();
        let form = Arc::new(Form::of(&self.policies, &choice, self.left()));
        self.forms.insert(choice, Arc::clone(&form));
        form
    }

    /// Whether the policies of each of these guests can be held, beside those of the others.
    pub(super) fn check<'g>(
        &mut self,
        guests: impl Iterator<Item = &'g Guest>,
    ) -> Result<(), TooLarge> {
        // All of them are held until the last one is.
        let mut held = Vec::new();
        for guest in guests {
            let form = self.of(guest);
            form.compiled()?;
            held.push(form);
        }
        Ok(())
    }

    /// Whether there is more room for a form that had too little than it had, so that it is worth another try by the next that asks for it.
    pub(super) fn try_again(&mut self) -> bool {
        self.forget_unused();
        let left = self.left();
        let before = self.forms.len();
        self.forms.retain(|_, form| !form.would_have_more(left));
        self.forms.len() < before
    }

    fn forget_unused(&mut self) {
        self.forms.retain(|_, form| Arc::strong_count(form) > 1);
    }

    fn left(&self) -> Room {
        let forms = self.forms.values();
        forms.fold(self.room, |left, form| left.without(form.took))
    }

    #[cfg(test)]
    pub(super) fn taken(&self) -> usize {
        self.room.bytes - self.left().bytes
    }

    #[cfg(test)]
    pub(super) fn looked_at(&self) -> usize {
        let forms = self.forms.values();
        forms.map(|form| form.took.places).sum()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.forms.len()
    }
}

impl Default for Forms {
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

impl Form {
    /// No policy: everything is denied.
    pub(super) fn of_none() -> Self {
        Self::of(&[], &Choice::new(), ROOM)
    }

    fn of(policies: &[Policy], choice: &Choice, had: Room) -> Self {
        let chosen: Vec<_> = choice
            .iter()
            .filter_map(|place| policies.get(*place))
            .collect();
        let mut left = had;
        let compiled = Compiled::of_within(&chosen, &mut left);
        Self {
            compiled,
            had,
            took: had.without(left),
        }
    }

    pub(super) const fn compiled(&self) -> Result<&Compiled, TooLarge> {
        match &self.compiled {
            Ok(compiled) => Ok(compiled),
            Err(error) => Err(*error),
        }
    }

    /// Whether it had too little room, and would have more with what is left now beside what it took.
    fn would_have_more(&self, left: Room) -> bool {
        let places = left.places.saturating_add(self.took.places);
        let had_too_little = matches!(self.compiled, Err(TooLarge::Index));
        had_too_little && (left.bytes > self.had.bytes || places > self.had.places)
    }
}
