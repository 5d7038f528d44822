//! The HTTPS certificate: the operator's own, or a self-signed one that is made once and kept.
//!
//! The self-signed one stays the same over restarts, so that a browser's exception or a phone's
//! trust stays good. It is made anew only when it must be: near its end, when this machine has a
//! name or address that it lacks, or when it cannot be used.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

use super::tls::server_config;
use crate::config::TlsFiles;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Phones and browsers refuse certificates valid for more than 398 days.
const VALID: Duration = DAY.saturating_mul(396);
/// Clocks of phones that run behind still find it valid.
const VALID_BEFORE: Duration = DAY;
/// A shorter rest is renewed at start.
const REST_MIN: Duration = DAY.saturating_mul(14);

/// A certificate that is ready to serve.
#[derive(Debug)]
pub struct Identity {
    pub chain: Vec<CertificateDer<'static>>,
    pub tls: Arc<ServerConfig>,
    /// SHA-256 of the first certificate, as browsers show it.
    pub fingerprint: String,
}

/// The operator's own files. Error: one line with the key (`cert` or `key`) and the file.
pub fn read(files: &TlsFiles, now: SystemTime) -> Result<Identity, String> {
    let of = |key: &str, path: &Path, e: String| format!("{key}: {}: {e}", path.display());
    let cert_error = |e| of("cert", &files.cert, e);
    let key_error = |e| of("key", &files.key, e);
    let cert = fs::read(&files.cert).map_err(|e| cert_error(e.to_string()))?;
    let key = fs::read(&files.key).map_err(|e| key_error(e.to_string()))?;
    let chain = parse_chain(&cert).map_err(cert_error)?;
    let key = parse_key(&key).map_err(key_error)?;
    let identity = identity(chain, key).map_err(|e| match e {
        rustls::Error::InconsistentKeys(_) => {
            let cert = files.cert.display();
            key_error(format!("this key does not belong to the certificate {cert}"))
        }
        rustls::Error::InvalidCertificate(_) => cert_error(e.to_string()),
        e => key_error(format!("this key cannot be used: {e}")),
    })?;
    let cert = Certificate::from_der(&identity.chain[0])
        .map_err(|e| cert_error(format!("not an X.509 certificate: {e}")))?;
    if cert.tbs_certificate().validity().not_after.to_system_time() < now {
        log::warn!("the certificate {} has expired", files.cert.display());
    }
    Ok(identity)
}

/// The self-signed one in `dir` for `names` and `addresses`, made or made anew where needed.
/// Error: one line, when the folder or a file in it cannot be written.
pub fn keep(
    dir: &Path,
    names: &[String],
    addresses: &[IpAddr],
    now: SystemTime,
) -> Result<Identity, String> {
    let wanted = subjects(names, addresses);
    let stale = match load(dir, &wanted, now) {
        Ok(identity) => return Ok(identity),
        Err(stale) => stale,
    };
    let (cert, key) =
        generate(&wanted, now).map_err(|e| format!("certs_dir: cannot make a certificate: {e}"))?;
    let write_error = |e: io::Error| {
        let dir = dir.display();
        format!("certs_dir: cannot write a certificate into {dir}: {e}")
    };
    fs::create_dir_all(dir).map_err(write_error)?;
    write(&dir.join(KEY), &key, 0o600).map_err(write_error)?;
    write(&dir.join(CERT), &cert, 0o644).map_err(write_error)?;
    log::info!("made a new certificate in {}: {stale}", dir.display());
    load(dir, &wanted, now).map_err(|why| format!("certs_dir: what was just written: {why}"))
}

/// The name by which the machine calls itself, alone and as multicast DNS has it (RFC 6762 §3).
/// Empty when it is none that a certificate takes.
pub fn hostnames() -> Vec<String> {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim().to_ascii_lowercase();
    let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.';
    if name.is_empty() || name.len() > 63 || !name.bytes().all(fits) {
        return Vec::new();
    }
    match name.contains('.') {
        true => vec![name],
        false => vec![format!("{name}.local"), name],
    }
}

const CERT: &str = "cert.pem";
const KEY: &str = "key.pem";

/// Names and addresses as text, both kinds in one set.
fn subjects(names: &[String], addresses: &[IpAddr]) -> BTreeSet<String> {
    let always = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    let addresses = addresses.iter().chain(&always).map(IpAddr::to_string);
    let names = names.iter().cloned().chain(["localhost".to_owned()]);
    names.chain(addresses).collect()
}

/// Error: why the certificate there must be made anew.
fn load(dir: &Path, wanted: &BTreeSet<String>, now: SystemTime) -> Result<Identity, String> {
    let cert = fs::read(dir.join(CERT)).map_err(|_| "there was none".to_owned())?;
    let key_path = dir.join(KEY);
    let key = fs::read(&key_path).map_err(|e| format!("its key: {e}"))?;
    let chain = parse_chain(&cert)?;
    let identity = identity(chain, parse_key(&key)?).map_err(|e| e.to_string())?;
    let cert = Certificate::from_der(&identity.chain[0]).map_err(|e| e.to_string())?;
    let validity = cert.tbs_certificate().validity();
    if validity.not_before.to_system_time() > now {
        return Err("the one there is valid only in the future".to_owned());
    }
    if validity.not_after.to_system_time() < now + REST_MIN {
        return Err(format!("the one there ends at {}", validity.not_after));
    }
    if let Some(missing) = wanted.difference(&named(&cert)).next() {
        return Err(format!("the one there is not for {missing}"));
    }
    protect(&key_path).map_err(|e| format!("its key: {e}"))?;
    Ok(identity)
}

/// Takes the key away from everybody but its owner.
fn protect(key: &Path) -> io::Result<()> {
    if fs::metadata(key)?.permissions().mode() & 0o077 != 0 {
        fs::set_permissions(key, Permissions::from_mode(0o600))?;
        log::warn!("others could read {}; not any more", key.display());
    }
    Ok(())
}

fn named(cert: &Certificate) -> BTreeSet<String> {
    let extension = cert.tbs_certificate().get_extension::<SubjectAltName>();
    let Ok(Some((_critical, SubjectAltName(names)))) = extension else {
        return BTreeSet::new();
    };
    names
        .iter()
        .filter_map(|name| match name {
            GeneralName::DnsName(name) => Some(name.as_str().to_owned()),
            GeneralName::IpAddress(bytes) => match bytes.as_bytes() {
                v4 if v4.len() == 4 => {
                    Some(IpAddr::from(<[u8; 4]>::try_from(v4).ok()?).to_string())
                }
                v6 => Some(IpAddr::from(<[u8; 16]>::try_from(v6).ok()?).to_string()),
            },
            _ => None,
        })
        .collect()
}

/// A certificate and its key, as PEM.
fn generate(
    subjects: &BTreeSet<String>,
    now: SystemTime,
) -> Result<(String, String), rcgen::Error> {
    let subjects: Vec<String> = subjects.iter().cloned().collect();
    let mut params = rcgen::CertificateParams::new(subjects)?;
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    params.not_before = epoch + since.saturating_sub(VALID_BEFORE);
    params.not_after = epoch + since + VALID;
    params.distinguished_name = rcgen::DistinguishedName::new();
    let name = "Trackyard on this machine";
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.is_ca = rcgen::IsCa::ExplicitNoCa;
    params.key_usages = vec![rcgen::KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    let key = rcgen::KeyPair::generate()?;
    let cert = params.self_signed(&key)?;
    Ok((cert.pem(), key.serialize_pem()))
}

/// Puts a whole file in place at once, so that nobody ever reads half a key.
fn write(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let part = path.with_extension("part");
    match fs::remove_file(&part) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(mode).open(&part)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&part, path)
}

fn parse_chain(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match chain {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        Ok(_) => Err("no certificate in PEM form in it".to_owned()),
        Err(e) => Err(format!("not a certificate in PEM form: {e}")),
    }
}

fn parse_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|e| match e {
        rustls::pki_types::pem::Error::NoItemsFound => {
            "no unencrypted private key in PEM form in it".to_owned()
        }
        e => format!("not a private key in PEM form: {e}"),
    })
}

/// Errors also when the key is not the certificate's.
fn identity(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<Identity, rustls::Error> {
    let tls = server_config(chain.clone(), key)?;
    Ok(Identity { fingerprint: fingerprint(&chain[0]), tls, chain })
}

pub(super) fn fingerprint(cert: &CertificateDer<'_>) -> String {
    let suite = aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
    let suite = suite.tls13().expect("its name says that it is of TLS 1.3");
    let hash = suite.common.hash_provider.hash(cert);
    let mut text = String::new();
    for byte in hash.as_ref() {
        let colon = if text.is_empty() { "" } else { ":" };
        write!(text, "{colon}{byte:02X}").expect("a string takes all that is written to it");
    }
    text
}

#[cfg(test)]
mod tests;
