//! Guests and a network outside of the host, by the uplink of their segment.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bartizan_tests::network::{WEB, WEB_6};
use bartizan_tests::stack::{FAR, OUTSIDE, OUTSIDE_6, Outside};
use serde_json::{Value, json};

use super::Networked;
use crate::world::World;

/// What whoever is outside serves, more than any buffer on its way.
const BYTES: usize = 8 << 20;

/// Guests may ask three addresses outside, two of these may ask them for pages, and one and they one another for an echo.
fn some_outside() -> Value {
    let near = json!([format!("{OUTSIDE}/32"), format!("{OUTSIDE_6}/128")]);
    let asked = json!([
        format!("{OUTSIDE}/32"),
        format!("{OUTSIDE_6}/128"),
        format!("{FAR}/32")
    ]);
    json!([
        { "name": "serve", "effect": "allow",
          "network": { "direction": "ingress", "protocols": ["tcp"], "ports": [80], "peer": { "addresses": near } } },
        { "name": "ask", "effect": "allow",
          "network": { "direction": "egress", "protocols": ["tcp"], "ports": [8080], "peer": { "addresses": asked } } },
        { "name": "echo", "effect": "allow",
          "network": { "protocols": ["icmp"], "peer": { "addresses": [format!("{OUTSIDE}/32")] } } },
    ])
}

pub(super) fn both_ways(world: &mut World) -> Result<()> {
    let mut networked = world.networked()?;
    networked.apply(&some_outside())?;
    from_inside(&mut networked)?;
    from_outside(&mut networked)?;
    // What was allowed outside is not any more, either way.
    networked.apply(&json!([]))?;
    let outside = outside(&networked)?;
    ensure!(page(outside, WEB, 5)?.is_none(), "a page, denied by now");
    ensure!(!outside.run(&format!("ping -c 1 -W 2 {WEB}"))?, "an echo");
    Ok(())
}

fn outside<'n>(networked: &'n Networked<'_>) -> Result<&'n Outside> {
    networked.stack.outside.as_ref().context("an uplink")
}

fn from_inside(networked: &mut Networked<'_>) -> Result<()> {
    for (host, url) in [
        (OUTSIDE, format!("http://{OUTSIDE}:8080/")),
        (FAR, format!("http://{FAR}:8080/")),
        (OUTSIDE_6, format!("http://[{OUTSIDE_6}]:8080/")),
    ] {
        let listens = if host.contains(':') {
            format!("[{host}]:8080")
        } else {
            format!("{host}:8080")
        };
        let listener = outside(networked)?.listen(&listens)?;
        let served = thread::spawn(move || serve_one(&listener));
        let client = &mut networked.client.agent;
        client.must(&format!("ip route replace {FAR}/32 via {OUTSIDE}"))?;
        let size = client.must(&format!(
            "curl -gsS --max-time 60 -o /tmp/outside -w '%{{size_download}}' {url}"
        ))?;
        ensure!(size.trim() == BYTES.to_string(), "{url}: {size}");
        let served = served.join().ok().context("the server panicked")?;
        served.context("the server outside")?;
    }
    let client = &mut networked.client.agent;
    client.must(&format!("ip route del {FAR}/32; ping -c 1 -W 10 {OUTSIDE}"))?;
    // No rule is about this port, nor about this address: nobody outside hears of either.
    for denied in [format!("{OUTSIDE}/8081"), "10.77.0.77/8080".into()] {
        let to = client.run(&format!("timeout 5 bash -c 'exec 3<>/dev/tcp/{denied}'"))?;
        ensure!(to.code == Some(124), "{denied}: {to:?}");
    }
    Ok(())
}

fn from_outside(networked: &mut Networked<'_>) -> Result<()> {
    let outside = outside(networked)?;
    for host in [WEB, WEB_6] {
        let page = page(outside, host, 20)?;
        let page = page.with_context(|| format!("no page of {host}, which a rule allows"))?;
        ensure!(page.starts_with("HTTP/1.1 200"), "{host}: {page}");
    }
    ensure!(outside.run(&format!("ping -c 1 -W 10 {WEB}"))?, "no echo");
    // No rule is about this port.
    ensure!(outside.connect(WEB, 81, 5)?.is_none(), "port 81");
    Ok(())
}

/// Answers one request with many bytes.
fn serve_one(listener: &TcpListener) -> Result<()> {
    let (mut stream, _) = listener.accept()?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    read_head(&mut stream)?;
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {BYTES}\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    stream.write_all(&vec![b'x'; BYTES])?;
    Ok(())
}

fn read_head(stream: &mut TcpStream) -> Result<()> {
    let (mut read, mut byte) = (Vec::new(), [0]);
    while !read.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        read.extend(byte);
        ensure!(read.len() < 4096, "a request without an end");
    }
    Ok(())
}

/// The first bytes of a host's page; none where it does not answer.
fn page(outside: &Outside, host: &str, seconds: u64) -> Result<Option<String>> {
    let Some(mut stream) = outside.connect(host, 80, seconds)? else {
        return Ok(None);
    };
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut head = [0; 16];
    stream.read_exact(&mut head)?;
    Ok(Some(String::from_utf8_lossy(&head).into_owned()))
}
