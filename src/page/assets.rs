//! The files a page needs: its style sheet, its script and its icon, compiled into the program.
//!
//! Owns their addresses, which change with their content, so that a browser may keep them for ever and never shows
//! a new page with an old style. Never refers to anything outside this program.

/// One file.
#[derive(Clone, Copy, Debug)]
pub struct Asset {
    /// Where it is served, without a query: `/assets/style.css`.
    pub path: &'static str,
    /// For the header `Content-Type`.
    pub content_type: &'static str,
    /// What is sent.
    pub body: &'static str,
    /// Of the body; good for an `ETag`, and part of the address as `?v=`.
    pub hash: u64,
}

/// All of them.
pub const ASSETS: [Asset; 3] = [STYLE, SCRIPT, ICON];

pub(super) const STYLE: Asset =
    Asset::new("/assets/style.css", "text/css; charset=utf-8", include_str!("../../assets/style.css"));

pub(super) const SCRIPT: Asset =
    Asset::new("/assets/page.js", "text/javascript; charset=utf-8", include_str!("../../assets/page.js"));

pub(super) const ICON: Asset =
    Asset::new("/assets/icon.svg", "image/svg+xml", include_str!("../../assets/icon.svg"));

impl Asset {
    const fn new(path: &'static str, content_type: &'static str, body: &'static str) -> Self {
        Self { path, content_type, body, hash: fnv1a(body.as_bytes()) }
    }

    /// Its address as pages write it.
    #[must_use]
    pub fn href(&self) -> String {
        format!("{}?v={:016x}", self.path, self.hash)
    }
}

/// Changes when a script is to fetch the whole page anew rather than its main part.
pub(super) fn edition() -> String {
    let all = ASSETS.iter().fold(0_u64, |all, asset| all.rotate_left(1) ^ asset.hash);
    format!("{all:016x}")
}

/// FNV-1a of 64 bits: tells versions of a file apart, and keeps no secret.
const fn fnv1a(bytes: &[u8]) -> u64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    let mut index = 0;
    while index < bytes.len() {
        // A const function may not use an iterator, nor From.
        hash = (hash ^ bytes[index] as u64).wrapping_mul(0x0100_0000_01b3);
        index += 1;
    }
    hash
}
