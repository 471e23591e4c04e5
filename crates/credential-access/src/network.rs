//! Networks, as an address and the length of its prefix.

use std::net::IpAddr;

/// A network such as `10.0.0.0/8` or `2001:db8::/32`; a single address is a network of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Network {
    /// The first address, in the upper bits for IPv4 as for IPv6.
    first: u128,
    mask: u128,
    is_v4: bool,
}

impl Network {
    /// Reads a network.
    ///
    /// # Errors
    /// What is wrong with it, and what to write.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        const SHAPE: &str = "is no network; write one as 10.0.0.0/8 or 2001:db8::/32";
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| SHAPE)?;
        if address.to_canonical() != address {
            return Err("is an IPv4 network written as IPv6; write it as 10.0.0.0/8");
        }
        let (first, is_v4) = bits(address);
        let longest: u32 = if is_v4 { 32 } else { 128 };
        let length = match prefix {
            Some(prefix) if prefix.bytes().all(|digit| digit.is_ascii_digit()) => {
                prefix.parse().map_err(|_| SHAPE)?
            }
            Some(_) => return Err(SHAPE),
            None => longest,
        };
        if length > longest {
            return Err("has a longer prefix than its address has bits; write at most /32, or /128 for IPv6");
        }
        let mask = u128::MAX.checked_shl(128 - length).unwrap_or(0);
        if first & !mask != 0 {
            return Err("has bits behind its prefix; write the first address of the network");
        }
        Ok(Self { first, mask, is_v4 })
    }

    /// Whether `address` is in it. An IPv4 address that came as IPv6 (`::ffff:10.0.0.1`) is the IPv4 address it is.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        let (bits, is_v4) = bits(address.to_canonical());
        is_v4 == self.is_v4 && bits & self.mask == self.first
    }
}

fn bits(address: IpAddr) -> (u128, bool) {
    match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()) << 96, true),
        IpAddr::V6(address) => (address.to_bits(), false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_in_the_networks_that_hold_it() {
        let cases = [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("10.0.0.0/8", "::ffff:10.1.2.3", true),
            ("10.1.2.3", "10.1.2.3", true),
            ("10.1.2.3", "10.1.2.4", false),
            ("0.0.0.0/0", "255.255.255.255", true),
            ("0.0.0.0/0", "::1", false),
            ("::/0", "::1", true),
            ("::/0", "1.2.3.4", false),
            ("2001:db8::/32", "2001:db8:ffff::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("::1/128", "::1", true),
        ];
        for (network, address, expected) in cases {
            let found = Network::parse(network)
                .unwrap()
                .contains(address.parse().unwrap());
            assert_eq!(found, expected, "{network} {address}");
        }
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in [
            "",
            "10.0.0.0/33",
            "10.0.0.1/8",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "10/8",
            "::1/64",
            "::/129",
            "::ffff:10.0.0.0/104",
            "host",
        ] {
            assert!(Network::parse(text).is_err(), "{text}");
        }
    }
}
