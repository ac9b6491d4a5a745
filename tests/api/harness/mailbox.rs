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
        files.iter().map(|path| Mail::read(path)).collect()
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
    fn read(path: &Path) -> Self {
        let raw = std::fs::read_to_string(path).unwrap().replace("\r\n", "\n");
        let (head, text) = raw.split_once("\n\n").unwrap();
        let header = |name: &str| {
            head.lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
                .unwrap_or_default()
                .to_owned()
        };
        let quoted = head.to_ascii_lowercase().contains("quoted-printable");
        let text = if quoted {
            text.replace("=\n", "").replace("=3D", "=")
        } else {
            text.to_owned()
        };
        Self {
            name: path.file_stem().unwrap().to_string_lossy().into_owned(),
            to: header("To"),
            subject: header("Subject"),
            text,
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
