//! Whether the model's service can be reached from here: a connection, and an answer of any kind where no TLS is in between.
//! No key is sent.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use codeswarm_agents::preflight::Variables;

use crate::facts::EndpointFacts;

/// How long connecting and answering may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// An address of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Address {
    tls: bool,
    host: String,
    port: u16,
    path: String,
}

impl Address {
    fn parse(url: &str) -> Option<Self> {
        let (scheme, rest) = url.trim().split_once("://")?;
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "https" | "wss" => true,
            "http" | "ws" => false,
            _ => return None,
        };
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let authority = authority.rsplit('@').next()?;
        let port_of = |text: &str| text.parse().ok();
        let default = if tls { 443 } else { 80 };
        let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, rest)) => (host, rest.strip_prefix(':').map_or(Some(default), port_of)?),
            None => match authority.rsplit_once(':') {
                Some((host, port)) => (host, port_of(port)?),
                None => (authority, default),
            },
        };
        let path = path.split(['?', '#']).next().filter(|path| !path.is_empty());
        (!host.is_empty()).then(|| Self {
            tls,
            host: host.to_owned(),
            port,
            path: path.unwrap_or("/").to_owned(),
        })
    }

    /// Without what may be secret in it.
    fn shown(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        let path = self.path.trim_end_matches('/');
        format!("{scheme}://{}:{}{path}", self.host, self.port)
    }
}

/// The proxy that the environment names for an address, as curl(1) reads it.
fn proxy_for(address: &Address, variables: &Variables) -> Option<Address> {
    let value = |name: &str| {
        let found = [name.to_owned(), name.to_ascii_uppercase()]
            .into_iter()
            .find_map(|name| variables.get(&std::ffi::OsString::from(name)));
        found
            .and_then(|value| value.to_str())
            .filter(|value| !value.is_empty())
            .map(str::to_owned)
    };
    let spared = value("no_proxy").is_some_and(|list| {
        list.split(',').map(str::trim).any(|name| {
            let name = name.trim_start_matches('.');
            name == "*" || name == address.host || (!name.is_empty() && address.host.ends_with(&format!(".{name}")))
        })
    });
    if spared {
        return None;
    }
    let own = if address.tls { "https_proxy" } else { "http_proxy" };
    let proxy = value(own).or_else(|| value("all_proxy"))?;
    Address::parse(&proxy).or_else(|| Address::parse(&format!("http://{proxy}")))
}

/// Tries, for no longer than twice [`PATIENCE`].
pub fn reach(url: &str, variables: &Variables) -> EndpointFacts {
    let began = Instant::now();
    let mut facts = EndpointFacts {
        url: "an address that is none".to_owned(),
        proxy: None,
        reached: None,
        refused: None,
        milliseconds: 0,
    };
    let Some(address) = Address::parse(url) else {
        facts.refused = Some("it is no address that begins with http:// or https://".to_owned());
        return facts;
    };
    let proxy = proxy_for(&address, variables);
    facts.url = address.shown();
    facts.proxy = proxy.as_ref().map(Address::shown);
    // Looking up a name has no end of its own.
    let (answer, answered) = mpsc::channel();
    std::thread::spawn(move || {
        let _nobody_waits = answer.send(connect(&address, proxy.as_ref()));
    });
    match answered.recv_timeout(PATIENCE * 2) {
        Ok(Ok(reached)) => facts.reached = Some(reached),
        Ok(Err(refused)) => facts.refused = Some(refused),
        Err(_) => facts.refused = Some(format!("no answer in {} s", (PATIENCE * 2).as_secs())),
    }
    facts.milliseconds = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    facts
}

fn connect(address: &Address, proxy: Option<&Address>) -> Result<String, String> {
    let first = proxy.unwrap_or(address);
    let (host, port) = (first.host.as_str(), first.port);
    let names = (host, port)
        .to_socket_addrs()
        .map_err(|error| format!("the name {host} does not resolve: {error}"))?;
    let mut last = format!("{host} has no address");
    for one in names {
        match TcpStream::connect_timeout(&one, PATIENCE) {
            Ok(stream) => return ask(stream, address, proxy),
            Err(error) => last = format!("{one}: {error}"),
        }
    }
    Err(last)
}

fn ask(mut stream: TcpStream, address: &Address, proxy: Option<&Address>) -> Result<String, String> {
    let Address { tls, host, port, path } = address;
    let host = if host.contains(':') {
        format!("[{host}]")
    } else {
        host.clone()
    };
    let question = match (tls, proxy) {
        (true, None) => return Ok("its port is open".to_owned()),
        (true, Some(_)) => format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n"),
        (false, None) => format!("GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n"),
        (false, Some(_)) => {
            format!("GET http://{host}:{port}{path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n")
        }
    };
    let failed = |error: std::io::Error| format!("it takes connections and does not answer: {error}");
    stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
    stream.set_write_timeout(Some(PATIENCE)).map_err(failed)?;
    stream.write_all(question.as_bytes()).map_err(failed)?;
    let mut buffer = [0; 256];
    let count = stream.read(&mut buffer).map_err(failed)?;
    let text = String::from_utf8_lossy(buffer.get(..count).unwrap_or_default()).into_owned();
    let line = text.lines().next().unwrap_or_default().trim().to_owned();
    if !line.starts_with("HTTP/") {
        return Err(format!("what listens there does not speak HTTP: it says {line:?}"));
    }
    let status = line.split_whitespace().nth(1).unwrap_or_default();
    // Of a proxy, anything but success is its own refusal.
    if proxy.is_some() && (status.starts_with('4') && *tls || status.starts_with('5')) {
        return Err(format!("the proxy answers {line}"));
    }
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn variables(pairs: &[(&str, &str)]) -> Variables {
        pairs
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()))
            .collect()
    }

    #[test]
    fn addresses_are_read_and_their_secrets_left_out() {
        let shown = |url: &str| Address::parse(url).map(|address| address.shown());
        assert_eq!(
            shown("https://api.openai.com/v1").as_deref(),
            Some("https://api.openai.com:443/v1")
        );
        assert_eq!(
            shown("http://u:p@host:81/v1/?key=1").as_deref(),
            Some("http://host:81/v1")
        );
        assert_eq!(
            Address::parse("http://[::1]:8000").map(|address| (address.host, address.port)),
            Some(("::1".into(), 8000))
        );
        for other in ["", "host", "ftp://host", "http://", "http://host:x"] {
            assert_eq!(Address::parse(other), None, "{other}");
        }
    }

    #[test]
    fn a_proxy_is_the_environment_s() {
        let address = Address::parse("https://api.example.org/v1").unwrap();
        let proxy = |pairs: &[(&str, &str)]| proxy_for(&address, &variables(pairs)).map(|proxy| proxy.shown());
        assert_eq!(proxy(&[]), None);
        assert_eq!(proxy(&[("http_proxy", "http://p:1")]), None);
        assert_eq!(proxy(&[("HTTPS_PROXY", "p:3128")]).as_deref(), Some("http://p:3128"));
        assert_eq!(
            proxy(&[("https_proxy", "http://p:1"), ("no_proxy", "a, .example.org")]),
            None
        );
    }

    #[test]
    fn what_answers_is_reached_and_what_does_not_is_told() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = std::thread::spawn(move || {
            for answer in ["HTTP/1.1 404 Not Found\r\n\r\n", "SSH-2.0-x\r\n"] {
                let (mut stream, _) = listener.accept().unwrap();
                let _ = stream.read(&mut [0; 512]);
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        let url = format!("http://127.0.0.1:{port}/v1");
        let none = Variables::new();
        assert_eq!(reach(&url, &none).reached.as_deref(), Some("HTTP/1.1 404 Not Found"));
        assert!(reach(&url, &none).refused.unwrap().contains("does not speak HTTP"));
        server.join().unwrap();
        assert!(reach(&url, &none).refused.unwrap().contains("refused"));
        assert!(reach("no address", &none).refused.is_some());
    }
}
