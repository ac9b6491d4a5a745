//! The outbox folder of short messages, as its reader meets it; and people with numbers and addresses.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::client::parse;
use super::{App, PASSWORD, Tokens, until};

/// The folder `outbox/sms` of a service.
pub struct Phones {
    folder: PathBuf,
}

/// One message.
#[derive(Debug, Clone)]
pub struct Sms {
    /// The name of its file, without its ending: the log position.
    pub name: String,
    /// The whole file.
    pub json: Value,
}

impl Phones {
    pub fn of(data_dir: &Path) -> Self {
        Self {
            folder: data_dir.join("outbox").join("sms"),
        }
    }

    /// Every message so far, oldest first. A file that is there is whole.
    pub fn messages(&self) -> Vec<Sms> {
        let Ok(entries) = std::fs::read_dir(&self.folder) else {
            return Vec::new();
        };
        let mut files: Vec<PathBuf> = entries
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|e| e == "json"))
            .collect();
        files.sort();
        // One that is gone again was for somebody who was erased.
        let read = |path: &PathBuf| {
            Some(Sms {
                name: path.file_stem().unwrap().to_string_lossy().into_owned(),
                json: parse(&std::fs::read_to_string(path).ok()?),
            })
        };
        files.iter().filter_map(read).collect()
    }

    /// The so-manieth message to a number, once it is there.
    pub async fn nth_to(&self, number: &str, count: usize) -> Sms {
        until(&format!("message {count} to a number"), || async {
            let all = self.messages().into_iter();
            let messages: Vec<Sms> = all.filter(|sms| sms.json["to"] == number).collect();
            (messages.len() >= count).then(|| messages[count - 1].clone())
        })
        .await
    }

    /// The first message to a number.
    pub async fn to(&self, number: &str) -> Sms {
        self.nth_to(number, 1).await
    }
}

impl Sms {
    /// The one run of digits in its text.
    pub fn code(&self) -> String {
        let text = self.json["text"].as_str().unwrap();
        let mut runs = text.split(|c: char| !c.is_ascii_digit()).filter(|run| !run.is_empty());
        let code = runs.next().unwrap_or_else(|| panic!("no digits in {text}"));
        assert_eq!(runs.next(), None, "{text}");
        code.to_owned()
    }

    /// A code of the same form that is not this one.
    pub fn wrong(&self, number: u32) -> String {
        let right: u32 = self.code().parse().unwrap();
        format!("{:06}", (right + 1 + number) % 1_000_000)
    }
}

impl App {
    /// An account with a username and an address that is verified, signed in. The address is `{name}@farm.example`.
    pub async fn with_email(&self, name: &str) -> Tokens {
        let address = format!("{name}@farm.example");
        let body = json!({ "username": name, "email": address, "password": PASSWORD });
        self.command("register-user", &body).expect(201).await;
        let mail = self.mailbox().to(&address).await;
        let token = json!({ "token": mail.token() });
        self.command("verify-email", &token).expect(200).await;
        self.sign_in(name, PASSWORD).await
    }

    /// Somebody with an address whose account an administrator took out of use.
    pub async fn with_deactivated(&self, name: &str) {
        let admin = self.admin().await;
        let gone = self.with_email(name).await;
        self.command("deactivate-user", &json!({ "user_id": gone.user }))
            .bearer(&admin.access)
            .expect(200)
            .await;
    }

    /// An account with a username and a number that is verified, signed in.
    pub async fn with_phone(&self, name: &str, number: &str) -> Tokens {
        let body = json!({ "username": name, "phone": number, "password": PASSWORD });
        self.command("register-user", &body).expect(201).await;
        let code = self.phones().to(number).await.code();
        let body = json!({ "phone": number, "code": code });
        self.command("verify-phone", &body).expect(200).await;
        self.sign_in(name, PASSWORD).await
    }
}
