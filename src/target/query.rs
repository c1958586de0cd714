//! What kube-apiserver's `ListOptions` read from a query, as far as they change a request's verb or name.

/// Whether an option is on, as `runtime.Convert_Slice_string_To_bool` reads it: it is there, and is neither `0` nor `false`. Its first
/// value counts.
pub(super) fn is_on(query: &str, name: &str) -> bool {
    values(query, name).next().is_some_and(|value| !(value == "0" || value.eq_ignore_ascii_case("false")))
}

/// How long a watch lasts at least if its query does not say it, in seconds: kube-apiserver's `--min-request-timeout` by default.
const WATCH_SECONDS: u64 = 1_800;

/// The query of a watch that ends within so many seconds; nothing where it does as it is. It is never made longer: what ends of
/// itself before stays, and what says nothing gets at most what kube-apiserver would give at least.
pub(super) fn ending_within(query: &str, seconds: u64) -> Option<String> {
    let own = values(query, "timeoutSeconds").next().map_or(Some(0), |value| value.parse::<i64>().ok());
    // What is no number is kube-apiserver's to refuse, and what is negative ends at once.
    let own = u64::try_from(own?).ok()?;
    let is_short = if own > 0 { own <= seconds } else { seconds >= 2 * WATCH_SECONDS };
    if is_short {
        return None;
    }
    let seconds = if own > 0 { seconds } else { seconds.min(WATCH_SECONDS) };
    let others = query.split('&').filter(|pair| {
        let key = pair.split('=').next().unwrap_or_default();
        !pair.is_empty() && decode(key).is_none_or(|key| key != "timeoutSeconds")
    });
    let bound = format!("timeoutSeconds={}", seconds.max(1));
    Some(others.chain([bound.as_str()]).collect::<Vec<_>>().join("&"))
}

/// The name that `fieldSelector=metadata.name=NAME` asks for. When a number among the options is none, kube-apiserver
/// reads no option but `watch`.
#[inline(never)] // seldom called, as `Target::into_owned`
pub(super) fn name(query: &str) -> Option<String> {
    let is_number = |value: String| value.parse::<i64>().is_ok();
    if !["limit", "timeoutSeconds"].iter().all(|option| values(query, option).next().is_none_or(is_number)) {
        return None;
    }
    let selector = values(query, "fieldSelector").next()?;
    let mut name = None;
    let mut terms = split_terms(&selector);
    terms.sort_unstable(); // as apimachinery does before it looks for one
    for term in terms.into_iter().filter(|term| !term.is_empty()) {
        let (field, is_equal, value) = split_term(&term)?;
        if field == "metadata.name" && is_equal && name.is_none() {
            name = Some(unescape(value)?);
        }
    }
    name.filter(|name| !matches!(name.as_str(), "" | "." | "..") && !name.contains(['/', '%']))
}

/// The decoded values of a parameter, as Go's `url.ParseQuery` finds them: a pair that does not decode is left out, and
/// so is one with a semicolon.
pub(super) fn values<'a>(query: &'a str, name: &'a str) -> impl Iterator<Item = String> + 'a {
    query.split('&').filter(|pair| !pair.contains(';')).filter_map(move |pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(key)? == name).then(|| decode(value)).flatten()
    })
}

fn decode(text: &str) -> Option<String> {
    let decoded = super::unescape(&text.replace('+', " "))?;
    Some(String::from_utf8_lossy(&decoded).into_owned())
}

/// Splits a field selector at its commas; a backslash escapes one.
fn split_terms(selector: &str) -> Vec<String> {
    let mut terms = vec![String::new()];
    let mut is_escaped = false;
    for character in selector.chars() {
        if character == ',' && !is_escaped {
            terms.push(String::new());
            continue;
        }
        is_escaped = character == '\\' && !is_escaped;
        if let Some(term) = terms.last_mut() {
            term.push(character);
        }
    }
    terms
}

/// A term's field, whether it asks for equality, and its value, still escaped. A term without operator is no selector.
fn split_term(term: &str) -> Option<(&str, bool, &str)> {
    let operator = term.find('=')?;
    let operator = term.find("!=").unwrap_or(operator).min(operator);
    let (field, rest) = term.split_at_checked(operator)?;
    let is = |operator: &str| rest.strip_prefix(operator);
    if let Some(value) = is("!=") {
        return Some((field, false, value));
    }
    is("==").or_else(|| is("=")).map(|value| (field, true, value))
}

/// Undoes `\\`, `\,` and `\=`; no other escape exists, and an unescaped `=` or `,` is an error.
fn unescape(value: &str) -> Option<String> {
    let mut text = String::with_capacity(value.len());
    let mut characters = value.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => text.push(characters.next().filter(|escaped| matches!(escaped, '\\' | ',' | '='))?),
            '=' | ',' => return None,
            other => text.push(other),
        }
    }
    Some(text)
}

#[cfg(test)]
mod tests;
