//! Type information, type by type.

/// Collects types; each method returns the number of the type that it adds.
#[derive(Default, Clone)]
pub(crate) struct BtfBuilder {
    types: Vec<u8>,
    strings: Vec<u8>,
    count: u32,
}

/// A member: name, type, offset in bits, width in bits if it is a bit field.
pub(crate) type Member<'n> = (&'n str, u32, u32, u32);

impl BtfBuilder {
    pub(crate) fn int(&mut self, name: &str, size: u32) -> u32 {
        self.add(name, 1, 0, size, &[size * 8])
    }

    pub(crate) fn pointer(&mut self, to: u32) -> u32 {
        self.add("", 2, 0, to, &[])
    }

    pub(crate) fn array(&mut self, of: u32, count: u32) -> u32 {
        self.add("", 3, 0, 0, &[of, 1, count])
    }

    pub(crate) fn structure(&mut self, name: &str, size: u32, members: &[Member<'_>]) -> u32 {
        self.aggregate(name, 4, size, members)
    }

    pub(crate) fn union(&mut self, name: &str, size: u32, members: &[Member<'_>]) -> u32 {
        self.aggregate(name, 5, size, members)
    }

    pub(crate) fn enumeration(&mut self, name: &str, values: &[(&str, u32)]) -> u32 {
        let tail: Vec<_> = values
            .iter()
            .flat_map(|&(name, value)| [self.string(name), value])
            .collect();
        self.add(name, 6, values.len(), 4, &tail)
    }

    pub(crate) fn typedef(&mut self, name: &str, of: u32) -> u32 {
        self.add(name, 8, 0, of, &[])
    }

    pub(crate) fn constant(&mut self, of: u32) -> u32 {
        self.add("", 10, 0, of, &[])
    }

    /// Any kind whatever.
    pub(crate) fn kind(&mut self, kind: u32) -> u32 {
        self.add("", kind, 0, 0, &[])
    }

    /// The number that the next type will have.
    pub(crate) const fn next(&self) -> u32 {
        self.count + 1
    }

    pub(crate) fn section(&self) -> Vec<u8> {
        let types = u32::try_from(self.types.len()).unwrap();
        let strings = u32::try_from(self.strings.len() + 1).unwrap();
        let mut section = vec![0x9f, 0xeb, 1, 0];
        for number in [24, 0, types, types, strings] {
            section.extend(number.to_le_bytes());
        }
        section.extend(&self.types);
        section.push(0);
        section.extend(&self.strings);
        section
    }

    fn aggregate(&mut self, name: &str, kind: u32, size: u32, members: &[Member<'_>]) -> u32 {
        let tail: Vec<_> = members
            .iter()
            .flat_map(|&(name, of, offset, width)| [self.string(name), of, width << 24 | offset])
            .collect();
        self.add(name, 1 << 7 | kind, members.len(), size, &tail)
    }

    fn add(&mut self, name: &str, kind: u32, members: usize, size: u32, tail: &[u32]) -> u32 {
        let info = kind << 24 | u32::try_from(members).unwrap();
        for number in [self.string(name), info, size].iter().chain(tail) {
            self.types.extend(number.to_le_bytes());
        }
        self.count += 1;
        self.count
    }

    fn string(&mut self, name: &str) -> u32 {
        if name.is_empty() {
            return 0;
        }
        let at = u32::try_from(self.strings.len() + 1).unwrap();
        self.strings.extend(name.as_bytes());
        self.strings.push(0);
        at
    }
}
