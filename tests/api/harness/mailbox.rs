//! The outbox folder, as its reader meets it.

use std::path::{Path, PathBuf};

use super::until;

/// The folder `outbox/mail` of a service.
pub struct Mailbox {
    folder: PathBuf,
}

/// One mail.
#[derive(Debug, Clone)]
pub struct Mail {
    /// The name of its file, without its ending: the log position.
    pub name: String,
    pub to: String,
    pub subject: String,
    pub text: String,
    pub html: String,
}

/// A field of a head, its lines joined; empty if it is missing.
fn header(head: &str, name: &str) -> String {
    let head = head.replace("\n ", " ");
    let mut found = head
        .lines()
        .filter_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    found.next().unwrap_or_default().to_owned()
}

impl Mailbox {
    pub fn of(data_dir: &Path) -> Self {
        Self {
            folder: data_dir.join("outbox").join("mail"),
        }
    }

    /// Every mail so far, oldest first. A file that is there is whole.
    pub fn mails(&self) -> Vec<Mail> {
        let Ok(entries) = std::fs::read_dir(&self.folder) else {
            return Vec::new();
        };
        let mut files: Vec<PathBuf> = entries
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|e| e == "eml"))
            .collect();
        files.sort();
        files.iter().filter_map(|path| Mail::read(path)).collect()
    }

    /// The newest mail to an address once there are at least so many.
    pub async fn nth_to(&self, address: &str, count: usize) -> Mail {
        until(&format!("mail {count} of an account"), || async {
            let mails: Vec<Mail> = self.mails().into_iter().filter(|mail| mail.to == address).collect();
            (mails.len() >= count).then(|| mails[count - 1].clone())
        })
        .await
    }

    /// The first mail to an address.
    pub async fn to(&self, address: &str) -> Mail {
        self.nth_to(address, 1).await
    }
}

impl Mail {
    /// None: it is gone again, because its reader was erased.
    fn read(path: &Path) -> Option<Self> {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        Some(Self::parse(&name, &std::fs::read_to_string(path).ok()?))
    }

    /// Reads a mail of two parts: plain text, then HTML.
    pub fn parse(name: &str, raw: &str) -> Self {
        let raw = raw.replace("\r\n", "\n");
        let (head, body) = raw.split_once("\n\n").unwrap();
        let kind = header(head, "Content-Type");
        assert!(kind.starts_with("multipart/alternative;"), "{kind}");
        let boundary = kind.split_once("boundary=\"").unwrap().1.split('"').next().unwrap();
        let parts: Vec<&str> = body.split(&format!("--{boundary}")).collect();
        assert_eq!((parts.len(), parts[3].trim()), (4, "--"), "{body}");
        let part = |number: usize, kind: &str| {
            let (head, text) = parts[number].trim_start().split_once("\n\n").unwrap();
            assert!(header(head, "Content-Type").starts_with(kind), "{head}");
            match header(head, "Content-Transfer-Encoding").as_str() {
                "quoted-printable" => text.replace("=\n", "").replace("=3D", "="),
                "7bit" => text.to_owned(),
                other => panic!("{other} is not read here"),
            }
        };
        Self {
            name: name.to_owned(),
            to: header(head, "To"),
            subject: header(head, "Subject"),
            text: part(1, "text/plain"),
            html: part(2, "text/html"),
        }
    }

    /// The one link it holds.
    pub fn link(&self) -> &str {
        let mut links = self.text.split_whitespace().filter(|word| word.starts_with("http"));
        let link = links.next().unwrap_or_else(|| panic!("no link in {}", self.text));
        assert_eq!(links.next(), None, "{}", self.text);
        link
    }

    /// The token of its link.
    pub fn token(&self) -> &str {
        self.link().split_once("token=").unwrap().1
    }
}
