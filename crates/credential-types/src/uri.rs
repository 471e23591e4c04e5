//! URLs that hold secrets: cut by the generic syntax of RFC 3986 and percent-coded, every copy wiped.
//!
//! The `url` crate normalises into buffers that it grows and drops unwiped; the tests compare the two.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use zeroize::Zeroizing;

/// All but the unreserved characters of RFC 3986, 2.3: what is encoded by it means the same to every parser.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// A URL of the form `scheme://[userinfo@]hosts[/path][?query]`, cut and not decoded.
pub(crate) struct Parts<'a> {
    pub(crate) scheme: &'a str,
    pub(crate) userinfo: Option<&'a str>,
    /// One host with its port, or several behind commas.
    pub(crate) hosts: &'a str,
    /// Begins with `/`, or is empty.
    pub(crate) path: &'a str,
    pub(crate) query: Option<&'a str>,
}

/// Cuts `url`, and refuses what two parsers may cut at different places; says what is wrong and how to mend it.
pub(crate) fn split(url: &str) -> Result<Parts<'_>, &'static str> {
    if !crate::text::is_unbroken(url) {
        return Err("has a space, line break or control character; remove it, or percent-encode it");
    }
    if url.contains('\\') {
        // To a browser it is a '/', and ends the host.
        return Err("has a '\\'; write it as %5C");
    }
    if !percents_are_whole(url) {
        return Err("has a '%' without two hexadecimal digits behind it; write '%' itself as %25");
    }
    let no_scheme = "does not begin with a scheme, such as postgres://; add it";
    let (scheme, rest) = url.split_once("://").ok_or(no_scheme)?;
    if !is_scheme(scheme) {
        return Err(no_scheme);
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at_checked(end).unwrap_or((rest, ""));
    if tail.contains('#') {
        return Err("has a '#'; write it as %23");
    }
    let (userinfo, hosts) = match authority.rsplit_once('@') {
        Some((userinfo, hosts)) => (Some(userinfo), hosts),
        None => (None, authority),
    };
    if tail.contains('@') || userinfo.is_some_and(|text| text.contains('@')) {
        return Err(
            "has an '@' that does not end the user name and password; write '@' as %40, '/' as %2F, '?' as %3F and \
             ':' as %3A in them",
        );
    }
    let (path, query) = match tail.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (tail, None),
    };
    Ok(Parts {
        scheme,
        userinfo,
        hosts,
        path,
        query,
    })
}

/// RFC 3986, 3.1.
fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
}

fn percents_are_whole(text: &str) -> bool {
    text.split('%').skip(1).all(|after| {
        let mut bytes = after.bytes();
        [bytes.next(), bytes.next()]
            .iter()
            .all(|b| b.is_some_and(|b| b.is_ascii_hexdigit()))
    })
}

/// Cuts `host[:port]`, with an IPv6 address in brackets; the brackets are taken off.
pub(crate) fn split_host(text: &str) -> Result<(&str, Option<u16>), &'static str> {
    let (host, port) = match text.strip_prefix('[') {
        Some(inner) => {
            let (host, rest) = inner
                .split_once(']')
                .ok_or("has a '[' without ']' in its host; write an IPv6 address as [::1]")?;
            if host.parse::<std::net::Ipv6Addr>().is_err() {
                return Err("has no IPv6 address between '[' and ']'; correct it");
            }
            match rest.strip_prefix(':') {
                None if rest.is_empty() => (host, None),
                None => return Err("has text behind the ']' of its host; correct it"),
                Some(port) => (host, Some(port)),
            }
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let port = match port {
        None => None,
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => Some(
            digits
                .parse::<u16>()
                .ok()
                .filter(|port| *port > 0)
                .ok_or(BAD_PORT)?,
        ),
        Some(_) => return Err(BAD_PORT),
    };
    Ok((host, port))
}

const BAD_PORT: &str = "has a port that is not a number from 1 to 65535; correct it, write an IPv6 address in \
                        brackets, and percent-encode '/', '?' and '#' in the password";

/// Whether `host` is one host name or address, without brackets, and nothing that could end it early.
pub(crate) fn is_host(host: &str) -> bool {
    if host.contains(':') {
        return host.parse::<std::net::Ipv6Addr>().is_ok();
    }
    let reserved = [
        '@', '/', '\\', '?', '#', '[', ']', ',', '%', '<', '>', '^', '|', '"', '`', ';', '{', '}',
    ];
    !host.is_empty() && crate::text::is_unbroken(host) && !host.contains(reserved)
}

/// Decodes a component; `None` if it is not UTF-8 text. [`split`] has checked the percent signs.
pub(crate) fn decode(component: &str) -> Option<Zeroizing<String>> {
    // Decoding makes nothing longer: neither buffer grows.
    let mut bytes = Zeroizing::new(Vec::with_capacity(component.len()));
    bytes.extend(percent_decode_str(component));
    let text = std::str::from_utf8(&bytes).ok()?;
    Some(Zeroizing::new(text.to_owned()))
}

/// Appends `text`, percent-encoded. The caller has reserved three bytes for each of `text`.
pub(crate) fn encode_into(out: &mut String, text: &str) {
    out.extend(utf8_percent_encode(text, RESERVED));
}

/// Whether a query parameter of this name is likely to hold a secret.
pub(crate) fn names_a_secret(parameter: &str) -> bool {
    const PARTS: [&str; 9] = [
        "pass",
        "pwd",
        "secret",
        "token",
        "key",
        "private",
        "credential",
        "signature",
        "user",
    ];
    const WHOLE: [&str; 5] = ["auth", "sig", "sas", "code", "uid"];
    let Some(name) = decode(parameter) else {
        return true;
    };
    let name = name.to_ascii_lowercase();
    name.is_empty() || PARTS.iter().any(|part| name.contains(part)) || WHOLE.contains(&name.as_str())
}
