//! Whole lists, of which the verifier gives a page at a time.

use anyhow::{Result, bail};
use serde_json::Value;

use crate::verifier::segment;

/// The rows under `name` of the pages of the list at `path`, from behind `after` on, at most `most`. A page names the
/// next one by `next`.
pub(crate) fn rows(
    path: &str,
    name: &str,
    after: Option<&str>,
    most: usize,
    mut ask: impl FnMut(&str) -> Result<Value>,
) -> Result<Value> {
    let mut rows = Vec::new();
    let separator = if path.contains('?') { '&' } else { '?' };
    let mut after = after.map(ToOwned::to_owned);
    loop {
        let page = match &after {
            Some(after) => format!("{path}{separator}after={}", segment(after)),
            None => path.to_owned(),
        };
        let mut answer = ask(&page)?;
        let next = answer["next"].as_str().map(ToOwned::to_owned);
        let Value::Array(more) = answer[name].take() else {
            bail!(
                "the verifier's answer has no list of {name}; see that this tool is of its version"
            );
        };
        let ended = more.is_empty();
        rows.extend(more);
        match next {
            Some(next) if rows.len() < most && !ended => after = Some(next),
            _ => break,
        }
    }
    rows.truncate(most);
    Ok(Value::Array(rows))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A list of ten in pages of three.
    fn list(path: &str) -> Result<Value> {
        let after = path
            .split_once("after=")
            .map_or(0, |(_, n)| n.parse().unwrap());
        let end = (after + 3).min(10);
        let next = (end < 10).then(|| end.to_string());
        let hosts: Vec<_> = (after..end).collect();
        Ok(json!({ "hosts": hosts, "next": next }))
    }

    #[test]
    fn a_list_is_whole() {
        let mut asked = Vec::new();
        let all = rows("/v1/hosts", "hosts", None, usize::MAX, |path| {
            asked.push(path.to_owned());
            list(path)
        });
        assert_eq!(all.unwrap(), json!([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]));
        let expected = ["", "?after=3", "?after=6", "?after=9"];
        assert_eq!(asked, expected.map(|query| format!("/v1/hosts{query}")));
    }

    #[test]
    fn no_more_is_asked_for_than_is_wanted() {
        let mut asked = 0;
        let some = rows("/v1/hosts?limit=4", "hosts", Some("2"), 4, |path| {
            asked += 1;
            list(path)
        });
        assert_eq!((some.unwrap(), asked), (json!([2, 3, 4, 5]), 2));
    }

    #[test]
    fn an_empty_page_is_the_last() {
        let endless = |_: &str| Ok(json!({ "hosts": [], "next": "again" }));
        assert_eq!(rows("/", "hosts", None, 9, endless).unwrap(), json!([]));
        let error = rows("/", "hosts", None, 9, |_| Ok(json!({}))).unwrap_err();
        assert!(error.to_string().contains("no list of hosts"), "{error}");
    }
}
