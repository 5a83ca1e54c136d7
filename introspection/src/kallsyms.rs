//! The kernel's own symbol table, decoded from its read-only data: what /proc/kallsyms of the guest shows.
//!
//! Sources: Linux, scripts/kallsyms.c (how it is written) and kernel/kallsyms.c (how it is read). The table has
//! no header and no symbol that could be looked up without it, so that its parts are recognised by how they must
//! fit together:
//!
//! ```text
//! Linux ≤ 6.3: offsets, relative_base, num_syms, names, markers, [seqs], token_table, token_index
//! Linux ≥ 6.4: num_syms, names, markers, [seqs], token_table, token_index, offsets, [relative_base], [seqs]
//! ```
//!
//! The module `tokens` finds the token table, `names` the names before it, `addresses` what they stand for.

mod addresses;
mod names;
#[cfg(test)]
mod tests;
mod tokens;

use tokens::Tokens;

/// More symbols than this are refused. Distributions' kernels have 90,000 to 250,000.
pub const MAX_SYMBOLS: usize = 1 << 20;

/// Why a symbol table could not be decoded.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum KallsymsError {
    /// Nothing looks like a token table with its index.
    #[error("no token table was found; the kernel needs CONFIG_KALLSYMS=y")]
    NoTokenTable,
    /// No list of names stands before the token table.
    #[error("no list of names that agrees with its markers was found before the token table")]
    NoNames,
    /// No way of reading the addresses puts `_text` where the image starts.
    #[error("no table of addresses puts _text at {text:#x}")]
    NoAddresses {
        /// Where the image starts.
        text: u64,
    },
    /// A name is empty, too long or no text.
    #[error("symbol {index} has a name that is empty, too long or no UTF-8")]
    BadName {
        /// Its place in the table.
        index: usize,
    },
    /// The names together are too long.
    #[error("the symbols' names are longer than 256 MiB together")]
    TooLarge,
}

/// One symbol, as a line of /proc/kallsyms.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Symbol<'s> {
    /// Its name.
    pub name: &'s str,
    /// The letter that nm(1) prints for its kind, for example `T` for global code.
    pub kind: u8,
    /// Its link address.
    pub address: u64,
}

/// All symbols of a kernel.
#[derive(Debug)]
pub struct Symbols {
    names: names::Expanded,
    addresses: Vec<u64>,
    /// Indices of the symbols, sorted by name.
    by_name: Vec<u32>,
}

impl Symbols {
    /// Decodes the table in a kernel's read-only data `rodata`, linked at `rodata_address`, of a kernel whose
    /// image starts at `text`.
    ///
    /// # Errors
    ///
    /// [`KallsymsError`] where a part is missing or the parts do not fit together.
    pub fn decode(rodata: &[u8], rodata_address: u64, text: u64) -> Result<Self, KallsymsError> {
        let tokens = Tokens::find(rodata).ok_or(KallsymsError::NoTokenTable)?;
        let list = names::List::find(rodata, tokens.start()).ok_or(KallsymsError::NoNames)?;
        let names = list.expand(&tokens)?;
        let by_name = names.sorted();
        let text_index = names.find(&by_name, "_text").next();
        let addresses = text_index
            .and_then(|index| {
                let places = addresses::Places {
                    rodata,
                    rodata_address,
                    num_syms: list.start(),
                    tokens_end: tokens.end(),
                    count: names.len(),
                };
                places.decode(index, text)
            })
            .ok_or(KallsymsError::NoAddresses { text })?;
        Ok(Self {
            names,
            addresses,
            by_name,
        })
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.addresses.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.addresses.is_empty()
    }

    /// All of them, in the table's order.
    pub fn iter(&self) -> impl Iterator<Item = Symbol<'_>> {
        self.addresses
            .iter()
            .enumerate()
            .filter_map(|(index, &address)| {
                let (kind, name) = self.names.get(index)?;
                Some(Symbol {
                    name,
                    kind,
                    address,
                })
            })
    }

    /// The link address of the symbol `name`; `None` where there is none, or several with different addresses.
    #[must_use]
    pub fn address(&self, name: &str) -> Option<u64> {
        let mut addresses = self
            .names
            .find(&self.by_name, name)
            .filter_map(|index| self.addresses.get(index).copied());
        let address = addresses.next()?;
        addresses.all(|other| other == address).then_some(address)
    }
}
