//! The addresses at which workers can try to reach this host, in the order in which to try them.

use std::net::{IpAddr, Ipv4Addr};

use codeswarm_mailbox::doorbell::ADDRESSES;

/// This host's addresses but its loopback: those of private networks first, for a cluster's own network mostly has such.
pub fn of_this_host() -> Vec<IpAddr> {
    // Elsewhere than on Linux the address to listen at is configured.
    let table = std::fs::read_to_string("/proc/net/fib_trie").unwrap_or_default();
    let six = std::fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
    in_order(local_v4(&table).chain(local_v6(&six)).collect())
}

/// The addresses that the kernel's table of routes (proc(5), `fib_trie`) has as this host's own: a line with the address,
/// and below it one that says `/32 host LOCAL`.
fn local_v4(table: &str) -> impl Iterator<Item = IpAddr> {
    let mut last = None;
    table.lines().filter_map(move |line| {
        let line = line.trim_start_matches([' ', '|', '+', '-']);
        match line.split_whitespace().next().map(str::parse::<Ipv4Addr>) {
            Some(Ok(address)) => {
                last = Some(address);
                None
            }
            _ if line.starts_with("/32 host LOCAL") => last.map(IpAddr::V4),
            _ => None,
        }
    })
}

/// The addresses of global scope in `/proc/net/if_inet6`: 32 hexadecimal digits, index, prefix, scope (00: global), flags, name.
fn local_v6(table: &str) -> impl Iterator<Item = IpAddr> {
    table.lines().filter_map(|line| {
        let mut fields = line.split_whitespace();
        let address = u128::from_str_radix(fields.next()?, 16).ok()?;
        (fields.nth(2)? == "00").then(|| IpAddr::from(address.to_be_bytes()))
    })
}

fn in_order(mut addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    addresses.retain(|address| match address {
        IpAddr::V4(v4) => !v4.is_loopback() && !v4.is_link_local() && !v4.is_unspecified(),
        IpAddr::V6(v6) => !v6.is_loopback() && !v6.is_unspecified(),
    });
    let rank = |address: &IpAddr| match address {
        IpAddr::V4(v4) if v4.is_private() => 0,
        IpAddr::V6(v6) if v6.is_unique_local() => 1,
        IpAddr::V4(_) => 2,
        IpAddr::V6(_) => 3,
    };
    addresses.sort_by_key(|address| (rank(address), *address));
    addresses.dedup();
    addresses.truncate(ADDRESSES);
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_addresses_come_first_and_loopback_not_at_all() {
        let routes = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n     +-- 127.0.0.0/8 2 0 2\n           \
             |-- 127.0.0.1\n              /32 host LOCAL\n     +-- 192.0.2.0/24 2 0 2\n           |-- 192.0.2.2\n              /32 host \
             LOCAL\n        |-- 192.0.2.255\n           /32 link BROADCAST\n           |-- 10.8.0.7\n              /32 host LOCAL\nLocal:\n           \
             |-- 10.8.0.7\n              /32 host LOCAL\n           |-- 169.254.1.2\n              /32 host LOCAL\n";
        let six = "fe8000000000000000fc00fffe000001 04 40 20 80     eth0\nfd000000000000000000000000000002 04 40 00 82     eth0\n\
             00000000000000000000000000000001 01 80 10 80       lo\n20010db8000000000000000000000003 04 40 00 82     eth0\n";
        let found = in_order(local_v4(routes).chain(local_v6(six)).collect());
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found, ["10.8.0.7", "fd00::2", "192.0.2.2", "2001:db8::3"]);
    }

    #[test]
    fn what_does_not_read_names_nothing() {
        for text in [
            "",
            "rubbish",
            "|-- 1.2.3\n /32 host LOCAL",
            "xyz 1 2 00 4 5",
            "/32 host LOCAL",
        ] {
            assert_eq!(local_v4(text).count() + local_v6(text).count(), 0, "{text:?}");
        }
    }
}
