//! What a rule may name, and the texts of a request that it is held against.

use super::words::CORE_GROUP;

/// `text`, or with a star at its end what begins with it; `*/text` of any resource.
#[derive(Debug)]
pub(super) struct Pattern<'m> {
    pub(super) text: &'m str,
    pub(super) kind: Kind,
    /// Of most patterns it tells that they do not match: the digest of the whole text, or its first byte.
    pub(super) sign: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Whole,
    Start,
    Subresource,
    StartOfSubresource,
}

/// A text that patterns are held against, with its signs.
pub(super) struct Part<'t> {
    pub(super) text: &'t str,
    pub(super) digest: u32,
    first: u32,
}

impl<'m> Pattern<'m> {
    pub(super) fn parse(text: &'m str) -> Self {
        let (subresource, text) = text.strip_prefix("*/").map_or((false, text), |text| (true, text));
        let (is_start, text) = text.strip_suffix('*').map_or((false, text), |text| (true, text));
        let kind = match (subresource, is_start) {
            (false, false) => Kind::Whole,
            (false, true) => Kind::Start,
            (true, false) => Kind::Subresource,
            (true, true) => Kind::StartOfSubresource,
        };
        let text = if text == CORE_GROUP { "" } else { text };
        let Part { digest, first, .. } = Part::of(text);
        Self { text, kind, sign: if is_start { first } else { digest } }
    }

    pub(super) fn matches(&self, text: &Part<'_>) -> bool {
        match self.kind {
            Kind::Whole | Kind::Subresource => self.sign == text.digest && self.text == text.text,
            // A star alone begins everything, but for a subresource where there is none.
            Kind::Start => self.text.is_empty() || (self.sign == text.first && text.text.starts_with(self.text)),
            Kind::StartOfSubresource => !text.text.is_empty() && text.text.starts_with(self.text),
        }
    }

    /// As a rule has it.
    pub(super) fn written(&self) -> String {
        let text = self.text;
        match self.kind {
            Kind::Whole => text.to_owned(),
            Kind::Start => format!("{text}*"),
            Kind::Subresource => format!("*/{text}"),
            Kind::StartOfSubresource => format!("*/{text}*"),
        }
    }
}

impl<'t> Part<'t> {
    pub(super) fn of(text: &'t str) -> Self {
        // FNV-1a.
        let digest =
            text.bytes().fold(0x811c_9dc5, |digest: u32, byte| (digest ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        Self { text, digest, first: text.bytes().next().map_or(0, u32::from) }
    }
}

pub(super) fn is_any(patterns: &[Pattern<'_>], text: &Part<'_>) -> bool {
    patterns.is_empty() || patterns.iter().any(|pattern| pattern.matches(text))
}

/// A slash at the end changes nothing: servers of such URLs take both.
pub(super) fn matches_url(urls: &[Pattern<'_>], url: &str) -> bool {
    is_any(urls, &Part::of(url)) || url.strip_suffix('/').is_some_and(|url| is_any(urls, &Part::of(url)))
}
