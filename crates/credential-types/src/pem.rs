//! PEM armour (RFC 7468) around keys and certificates, decoded into buffers that are wiped.
//!
//! The `pem` and `x509-parser` crates decode through strings they drop unwiped; a private key must not pass there.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

/// One armoured block.
pub(crate) struct Block<'a> {
    /// What stands between `-----BEGIN ` and `-----`.
    pub(crate) label: &'a str,
    /// The header of keys encrypted the way of OpenSSL before PKCS#8 (RFC 1421, 4.6.1.1).
    pub(crate) legacy_encrypted: bool,
    pub(crate) der: Zeroizing<Vec<u8>>,
}

/// The blocks of `text`, in order; text between them is ignored. Says what is wrong and how to mend it.
pub(crate) fn blocks(text: &str) -> Result<Vec<Block<'_>>, &'static str> {
    let mut blocks = Vec::new();
    let mut lines = text.lines().map(str::trim);
    while let Some(line) = lines.next() {
        let Some(label) = delimited(line, "-----BEGIN ") else {
            continue;
        };
        let size = lines
            .clone()
            .take_while(|line| !line.starts_with("-----END "))
            .map(str::len)
            .sum();
        let mut body = Zeroizing::new(Vec::with_capacity(size));
        let mut legacy_encrypted = false;
        loop {
            let line = lines
                .next()
                .ok_or("is cut off: the -----END line is missing; paste the whole file")?;
            if let Some(end) = delimited(line, "-----END ") {
                if end != label {
                    return Err("begins and ends with different labels; paste the file unchanged");
                }
                break;
            }
            match line.split_once(':') {
                // A header line; base64 has no colon.
                Some((name, value)) => {
                    legacy_encrypted |= name == "Proc-Type" && value.trim() == "4,ENCRYPTED";
                }
                None => body.extend_from_slice(line.as_bytes()),
            }
        }
        let mut der = Zeroizing::new(Vec::with_capacity(body.len()));
        STANDARD.decode_vec(body.as_slice(), &mut der).map_err(
            |_| "is damaged: what stands between BEGIN and END is not base64; paste the file unchanged",
        )?;
        if der.is_empty() {
            return Err("is empty between BEGIN and END; paste the whole file");
        }
        blocks.push(Block {
            label,
            legacy_encrypted,
            der,
        });
    }
    if blocks.is_empty() {
        return Err(if text.contains("\\n") {
            "has its line breaks written as \\n; replace them with real ones"
        } else if text.starts_with("PuTTY-User-Key-File") {
            "is a PuTTY key; convert it with `puttygen KEY -O private-openssh`"
        } else {
            "has no -----BEGIN line; paste the PEM text of the file (a DER file is converted by `openssl`)"
        });
    }
    Ok(blocks)
}

fn delimited<'a>(line: &'a str, start: &str) -> Option<&'a str> {
    line.strip_prefix(start)?.strip_suffix("-----")
}
