//! Lists, a page at a time: bounded in rows and in bytes, since a row can be large.

/// Rows that are read at once: what is read beyond a page's end is at most so many.
pub(super) const CHUNK: u32 = 16;

/// What a page may hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PageLimit {
    /// Most rows.
    pub rows: u32,
    /// It ends with the row that reaches so many bytes.
    pub bytes: usize,
}

/// A page of a list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Page<T> {
    /// Its rows, in the list's order.
    pub rows: Vec<T>,
    /// Whether there are more rows after the last of these.
    pub more: bool,
}

/// A page that is being read, chunk by chunk.
#[derive(Debug)]
pub(super) struct Reading<T> {
    limit: PageLimit,
    bytes: usize,
    page: Page<T>,
}

impl<T> Reading<T> {
    pub(super) const fn new(limit: PageLimit) -> Self {
        let page = Page {
            rows: Vec::new(),
            more: false,
        };
        Self {
            limit,
            bytes: 0,
            page,
        }
    }

    /// The row after which the next chunk begins.
    pub(super) fn last(&self) -> Option<&T> {
        self.page.rows.last()
    }

    /// Takes a chunk of at most [`CHUNK`] rows; answers the page if that was the last one that it needs.
    pub(super) fn add(mut self, chunk: Vec<T>, size: fn(&T) -> usize) -> Result<Page<T>, Self> {
        let is_last = chunk.len() < CHUNK as usize;
        for row in chunk {
            let is_full =
                self.page.rows.len() >= self.limit.rows as usize || self.bytes >= self.limit.bytes;
            if is_full {
                self.page.more = true;
                return Ok(self.page);
            }
            self.bytes = self.bytes.saturating_add(size(&row));
            self.page.rows.push(row);
        }
        if is_last { Ok(self.page) } else { Err(self) }
    }
}

#[cfg(test)]
mod tests {
    use super::{CHUNK, Page, PageLimit, Reading};

    /// A page of a list of numbers, each of which is as many bytes.
    fn page(list: &[usize], rows: u32, bytes: usize) -> Page<usize> {
        let mut reading = Reading::new(PageLimit { rows, bytes });
        let mut read = 0;
        loop {
            let chunk: Vec<_> = list[read..].iter().copied().take(CHUNK as usize).collect();
            read += chunk.len();
            assert!(
                reading
                    .last()
                    .is_none_or(|last| *last == list[read - chunk.len() - 1])
            );
            match reading.add(chunk, |number| *number) {
                Ok(page) => return page,
                Err(more) => reading = more,
            }
        }
    }

    #[test]
    fn a_page_ends_with_its_rows_its_bytes_or_the_list() {
        let list: Vec<usize> = (1..=40).collect();
        let whole = Page {
            rows: list.clone(),
            more: false,
        };
        assert_eq!(page(&list, 40, usize::MAX), whole);
        assert_eq!(page(&list, u32::MAX, usize::MAX), whole);
        for rows in [1, 15, 16, 17, 32, 39] {
            let page = page(&list, rows, usize::MAX);
            assert_eq!((page.rows.len(), page.more), (rows as usize, true));
        }
        // 1 + 2 + 3 + 4 reaches ten bytes.
        let small = page(&list, 40, 10);
        assert_eq!((small.rows.as_slice(), small.more), (&list[..4], true));
        let one = page(&[1000, 1], 40, 1);
        assert_eq!((one.rows.as_slice(), one.more), (&[1000][..], true));
        assert!(page(&[], 40, 1).rows.is_empty());
    }
}
