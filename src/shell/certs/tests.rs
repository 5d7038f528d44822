use super::*;
use std::path::PathBuf;

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let name = format!("trackyard-certs-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&path);
        Folder(path)
    }

    fn keep(&self, addresses: &[&str], now: SystemTime) -> Result<Identity, String> {
        let addresses: Vec<IpAddr> = addresses.iter().map(|ip| ip.parse().unwrap()).collect();
        keep(&self.0, &["yard.local".to_owned()], &addresses, now)
    }

    fn mode(&self, file: &str) -> u32 {
        fs::metadata(self.0.join(file)).unwrap().permissions().mode() & 0o777
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn kept_over_restarts_and_renewed_before_its_end() {
    let folder = Folder::new("kept");
    let now = SystemTime::now();
    let first = folder.keep(&["192.0.2.1"], now).unwrap();
    let again = folder.keep(&["192.0.2.1"], now + DAY * 381).unwrap();
    assert_eq!(first.fingerprint, again.fingerprint);
    let renewed = folder.keep(&["192.0.2.1"], now + DAY * 383).unwrap();
    assert_ne!(first.fingerprint, renewed.fingerprint);
    let in_the_past = folder.keep(&["192.0.2.1"], now).unwrap();
    assert_ne!(renewed.fingerprint, in_the_past.fingerprint);
}

#[test]
fn covers_what_it_must_for_no_longer_than_phones_take() {
    let folder = Folder::new("covers");
    let identity = folder.keep(&["192.0.2.1", "2001:db8::1"], SystemTime::now());
    let identity = identity.unwrap();
    let cert = Certificate::from_der(&identity.chain[0]).unwrap();
    let names = named(&cert);
    for name in ["localhost", "yard.local", "127.0.0.1", "::1", "192.0.2.1", "2001:db8::1"] {
        assert!(names.contains(name), "{name} in {names:?}");
    }
    let validity = cert.tbs_certificate().validity();
    let since = validity.not_before.to_system_time();
    let span = validity.not_after.to_system_time().duration_since(since).unwrap();
    assert!(span <= Duration::from_secs(397 * 24 * 60 * 60), "{span:?}");
    assert_eq!(identity.fingerprint.len(), 32 * 3 - 1);
}

#[test]
fn a_new_address_needs_a_new_one_and_a_lost_one_does_not() {
    let folder = Folder::new("address");
    let now = SystemTime::now();
    let first = folder.keep(&["192.0.2.1"], now).unwrap();
    let more = folder.keep(&["192.0.2.1", "192.0.2.2"], now).unwrap();
    assert_ne!(first.fingerprint, more.fingerprint);
    let fewer = folder.keep(&["192.0.2.2"], now).unwrap();
    assert_eq!(more.fingerprint, fewer.fingerprint);
}

#[test]
fn the_key_is_its_owners_alone() {
    let folder = Folder::new("mode");
    let now = SystemTime::now();
    let first = folder.keep(&[], now).unwrap();
    assert_eq!(folder.mode(KEY), 0o600);
    let key = folder.0.join(KEY);
    fs::set_permissions(&key, Permissions::from_mode(0o644)).unwrap();
    let again = folder.keep(&[], now).unwrap();
    assert_eq!(folder.mode(KEY), 0o600);
    assert_eq!(first.fingerprint, again.fingerprint);
}

#[test]
fn what_is_broken_is_made_anew() {
    let folder = Folder::new("broken");
    let now = SystemTime::now();
    let mut last = folder.keep(&[], now).unwrap().fingerprint;
    let other_key = rcgen::KeyPair::generate().unwrap().serialize_pem();
    for (file, content) in [(CERT, ""), (CERT, "junk"), (KEY, "junk"), (KEY, &other_key)] {
        fs::write(folder.0.join(file), content).unwrap();
        let now = folder.keep(&[], now).unwrap().fingerprint;
        assert_ne!(now, last, "{file} {content}");
        last = now;
    }
    fs::remove_file(folder.0.join(KEY)).unwrap();
    assert_ne!(folder.keep(&[], now).unwrap().fingerprint, last);
}

#[test]
fn a_folder_that_cannot_be_one_is_named() {
    let folder = Folder::new("file");
    fs::write(&folder.0, "a file").unwrap();
    let error = folder.keep(&[], SystemTime::now()).unwrap_err();
    assert!(error.starts_with("certs_dir: ") && !error.contains('\n'), "{error}");
    fs::remove_file(&folder.0).unwrap();
}

#[test]
fn the_operators_own_files_are_checked() {
    let folder = Folder::new("own");
    let now = SystemTime::now();
    let kept = folder.keep(&[], now).unwrap();
    let path = |file: &str| folder.0.join(file);
    let own = |cert: &str, key: &str| {
        let (cert, key) = (path(cert), path(key));
        read(&TlsFiles { cert, key }, now)
    };
    assert_eq!(own(CERT, KEY).unwrap().fingerprint, kept.fingerprint);
    fs::write(path("junk.pem"), "junk").unwrap();
    let other = rcgen::KeyPair::generate().unwrap().serialize_pem();
    fs::write(path("other.pem"), other).unwrap();
    let der = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    fs::write(path("der.pem"), der).unwrap();
    for (cert, key, start, part) in [
        ("gone.pem", KEY, "cert: ", "No such file"),
        (CERT, "gone.pem", "key: ", "No such file"),
        ("junk.pem", KEY, "cert: ", "no certificate in PEM"),
        (CERT, "junk.pem", "key: ", "no unencrypted private key"),
        (CERT, CERT, "key: ", "no unencrypted private key"),
        (CERT, "other.pem", "key: ", "does not belong"),
        ("der.pem", KEY, "cert: ", ""),
    ] {
        let error = own(cert, key).unwrap_err();
        let fits = error.starts_with(start) && error.contains(part) && !error.contains('\n');
        assert!(fits, "{cert} {key}: {error}");
    }
}
