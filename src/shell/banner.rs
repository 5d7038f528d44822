//! What the program says when it has started: where to point a browser, and what to open.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};

use super::addresses::url;

/// What the banner tells.
pub struct Banner<'a> {
    /// Address and port that both TCP and UDP are bound to.
    pub listen: SocketAddr,
    pub candidates: &'a [IpAddr],
    pub fingerprint: &'a str,
    pub self_signed: bool,
}

/// How to draw the QR code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Qr {
    No,
    /// With colours, black on white whatever the terminal's are.
    Terminal,
    /// Without, for a dark terminal that shows the text later.
    Plain,
}

impl Banner<'_> {
    /// The whole text, ending with a line break.
    pub fn text(&self, qr: Qr) -> String {
        let mut text = format!("Trackyard {} is up\n\n", env!("CARGO_PKG_VERSION"));
        let urls = self.urls();
        for (url, whose) in &urls {
            line(&mut text, format_args!("  {url:<32}  {whose}"));
        }
        let port = self.listen.port();
        let kind = match self.self_signed {
            true => "self-signed: a browser asks once whether to trust it",
            false => "your own",
        };
        line(&mut text, format_args!(""));
        line(&mut text, format_args!("  Firewall     open TCP {port} and UDP {port}"));
        line(&mut text, format_args!("  Certificate  {kind}"));
        line(&mut text, format_args!("  SHA-256      {}", self.fingerprint));
        let lan = urls.iter().find(|(_, whose)| *whose == ELSEWHERE);
        if let Some((url, _)) = lan
            && let Some(code) = qr_code(url, qr)
        {
            line(&mut text, format_args!("\n{code}\n  {url}"));
        }
        text.push('\n');
        text
    }

    /// The likeliest address first; `localhost` where it leads here.
    fn urls(&self) -> Vec<(String, &'static str)> {
        let mut urls = Vec::new();
        let bound = self.listen.ip();
        if bound.is_unspecified() || bound.is_loopback() {
            let local = url(IpAddr::from([127, 0, 0, 1]), self.listen);
            urls.push((local.replacen("127.0.0.1", "localhost", 1), HERE));
        }
        let others = self.candidates.iter().filter(|ip| !ip.is_loopback());
        urls.extend(others.map(|ip| (url(*ip, self.listen), ELSEWHERE)));
        urls
    }
}

const HERE: &str = "on this machine";
const ELSEWHERE: &str = "from elsewhere, a phone for instance";

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("a string takes all that is written to it");
}

/// Two rows of modules a line. `None` when not wanted, or too long for a code.
fn qr_code(url: &str, qr: Qr) -> Option<String> {
    let code = QrCode::with_error_correction_level(url, EcLevel::L).ok()?;
    let mut render = code.render::<Dense1x2>();
    match qr {
        Qr::No => None,
        // A full block is drawn in the foreground colour.
        Qr::Plain => {
            let render = render.dark_color(Dense1x2::Light);
            Some(render.light_color(Dense1x2::Dark).build())
        }
        Qr::Terminal => {
            let lines = render.build();
            let lines = lines.lines().map(|l| format!("\x1b[38;5;16;48;5;231m{l}\x1b[0m"));
            Some(lines.collect::<Vec<_>>().join("\n"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(listen: &str, candidates: &str, qr: Qr) -> String {
        let candidates: Vec<IpAddr> =
            candidates.split_whitespace().map(|ip| ip.parse().unwrap()).collect();
        let banner = Banner {
            listen: listen.parse().unwrap(),
            candidates: &candidates,
            fingerprint: "AA:BB",
            self_signed: true,
        };
        banner.text(qr)
    }

    #[test]
    fn says_where_to_go_and_what_to_open() {
        let said = text("0.0.0.0:8443", "192.168.1.20 127.0.0.1", Qr::No);
        for part in [
            "https://localhost:8443 ",
            "https://192.168.1.20:8443 ",
            "UDP 8443",
            "AA:BB",
            "self-signed",
        ] {
            assert!(said.contains(part), "{part} in {said}");
        }
        assert!(!said.contains("127.0.0.1") && !said.contains('█'));
    }

    #[test]
    fn localhost_is_named_only_where_it_leads_here() {
        assert!(!text("192.0.2.1:443", "192.0.2.1", Qr::No).contains("localhost"));
        assert!(text("127.0.0.1:443", "127.0.0.1", Qr::No).contains("https://localhost "));
    }

    #[test]
    fn the_code_is_of_the_first_address_from_elsewhere() {
        let lan = text("0.0.0.0:8443", "192.168.1.20 127.0.0.1", Qr::Plain);
        assert!(lan.contains('█') && !lan.contains('\x1b'), "{lan}");
        assert!(text("0.0.0.0:8443", "192.168.1.20", Qr::Terminal).contains('\x1b'));
        assert!(!text("127.0.0.1:8443", "127.0.0.1", Qr::Plain).contains('█'));
    }
}
